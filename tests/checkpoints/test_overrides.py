"""What is stated of a network in text."""

import doctest
from dataclasses import asdict, fields

import pytest

from dp_ir.checkpoints import overrides
from dp_ir.checkpoints.contract import NetworkInfo
from dp_ir.checkpoints.overrides import parse_overrides, parse_overrides_by_kind
from dp_ir.errors import NetworkContractError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("scale=4", 4),
        ("scale=none", None),
        ("channels=1", 1),
        ("multiple_of=8", 8),
        ("multiple-of=8", 8),
        ("minimum_size=15", 15),
        ("value_range=0,255", (0.0, 255.0)),
        ("value_range=-1, 1", (-1.0, 1.0)),
        ("sigma_range=0,75/255", (0.0, 75 / 255)),
        ("sigma_range=5e-3,1", (0.005, 1.0)),
        ("sigma_range=none", None),
        ("sigma_input=map", "map"),
        ("supports_bfloat16=yes", True),
        ("supports_bfloat16=False", False),
        ("tiling=discouraged", "discouraged"),
        ("receptive_field=32", 32),
        ("receptive_field=none", None),
    ],
)
def test_each_field_is_read_in_its_own_way(text, value):
    (found,) = parse_overrides([text]).values()
    assert found == value
    assert type(found) is type(value)
    NetworkInfo(**{**asdict(NetworkInfo()), **parse_overrides([text])})


def test_every_field_of_the_contract_can_be_stated_and_the_probe_left_out():
    # But for detail, which is of fusions: nothing is stated of these in text, only of restorers and denoisers.
    assert list(overrides._FIELDS) == [*(item.name for item in fields(NetworkInfo) if item.name != "detail"), "probe"]
    with pytest.raises(NetworkContractError, match="states nothing that is known"):
        parse_overrides(["detail=0.4"])
    assert parse_overrides(["probe=no"]) == {"probe": False}
    with pytest.raises(NetworkContractError, match="yes or no"):
        parse_overrides(["probe=perhaps"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("scale=four", ["'scale=four'", "whole number"]),
        ("scale=0", ["whole number of at least 1"]),
        ("scale=2.5", ["whole number"]),
        ("value_range=255", ["LOW,HIGH", "0,255"]),
        ("value_range=255,0", ["'value_range=255,0'", "LOW,HIGH"]),
        ("value_range=0,inf", ["LOW,HIGH"]),
        ("value_range=nan,1", ["LOW,HIGH"]),
        ("sigma_range=25/0,1", ["LOW,HIGH", "50/255"]),
        ("sigma_range=-1,1", ["LOW,HIGH"]),
        ("sigma_input=cat", ["sigma, variance, map, none"]),
        ("supports_bfloat16=maybe", ["yes or no"]),
        ("tiling=best", ["supported, discouraged"]),
        ("value_rage=0,1", ["nearest: value_range", "KEY is one of scale, input"]),
        ("value_range", ["expected KEY=VALUE"]),
        ("=", ["KEY is one of"]),
        ("", ["KEY is one of"]),
    ],
)
def test_what_cannot_be_is_one_sentence_that_says_what_can(text, words):
    with pytest.raises(NetworkContractError) as caught:
        parse_overrides(["scale=2", text])
    sentence = str(caught.value)
    assert sentence.endswith(".")
    assert "\n" not in sentence
    for word in words:
        assert word in sentence


def test_the_last_word_counts():
    assert parse_overrides(["scale=2", "scale=4"]) == {"scale": 4}
    assert parse_overrides([]) == {}


def test_texts_go_to_the_networks_they_name():
    kinds = ("restorer", "denoiser")
    texts = ["restorer.value_range=0,255", "denoiser.sigma_input=map", "restorer.scale=4"]
    assert parse_overrides_by_kind(texts, kinds) == {
        "restorer": {"value_range": (0.0, 255.0), "scale": 4},
        "denoiser": {"sigma_input": "map"},
    }
    for text in ("value_range=0,0.5", "fusion.scale=4", "scale=4", "restorer"):
        with pytest.raises(NetworkContractError, match=r"expected restorer\.KEY=VALUE or denoiser\.KEY=VALUE"):
            parse_overrides_by_kind([text], kinds)


def test_the_examples_in_the_documentation_run():
    assert doctest.testmod(overrides, raise_on_error=False).failed == 0
