from pathlib import Path

import pytest

from dp_ir.errors import RecipeError
from dp_ir.training.recipe import load_recipe, recipe_text, shipped_recipes


def test_shipped_recipes_are_valid_and_leave_only_the_data_open() -> None:
    names = shipped_recipes()
    assert {"denoiser", "restorer-sr4", "fusion-sr4"} <= set(names)
    for name in names:
        with pytest.raises(RecipeError, match=r"add data\.clean=\.\.\. to the command"):
            load_recipe(name)
        recipe = load_recipe(name, ["data.clean=photos", "partners.restorer=r", "partners.denoiser=d"])
        assert recipe.data.clean == "photos"


def test_overrides_win_and_the_stored_recipe_reads_back(tmp_path: Path) -> None:
    overrides = ["data.clean=photos", "optim.steps=7", "network.config.channels=[16,32]", "network.config.blocks=[1,1]"]
    recipe = load_recipe("denoiser", overrides)
    assert (recipe.optim.steps, recipe.network.config["channels"]) == (7, [16, 32])
    (tmp_path / "recipe.yaml").write_text(recipe_text(recipe))
    assert load_recipe(str(tmp_path / "recipe.yaml")) == recipe


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optim.stepz=3", "stepz"),
        ("optim.steps=many", "many"),
        ("optim.steps=0", "greater than 0"),
        ("kind=painter", "restorer, denoiser, fusion"),
        ("precision=fp8", "float32, bfloat16, float16"),
        ("noise.low=2", "low < high"),
    ],
)
def test_wrong_values_are_named(override: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load_recipe("denoiser", ["data.clean=photos", override])


def test_fusion_needs_its_partners() -> None:
    with pytest.raises(RecipeError, match=r"partners\.restorer"):
        load_recipe("fusion-sr4", ["data.clean=photos"])


@pytest.mark.parametrize("value", ["0", "1.2", "true", "soon"])
def test_what_a_fusion_sees_of_the_dial_begins_at_a_number(value: str) -> None:
    given = ["data.clean=photos", "partners.restorer=r", "partners.denoiser=d", f"network.config.detail={value}"]
    with pytest.raises(RecipeError, match=r"network\.config\.detail is .*above 0 and at most 1"):
        load_recipe("fusion-sr4", given)


def test_only_the_energy_score_trains_a_dial() -> None:
    given = ["data.clean=photos", "partners.restorer=r", "partners.denoiser=d", "objective=estimate"]
    with pytest.raises(
        RecipeError, match=r"detail is 0\.25.*set objective=energy-score, or use the recipe fusion-estimate"
    ):
        load_recipe("fusion-sr4", given)


@pytest.mark.parametrize(
    ("recipe", "override", "message"),
    [
        ("fusion-sr4", "noise.median=0.2", r"noise\.median is 0\.2, .*objective=energy-score does not read noise"),
        ("fusion-sr4", "bridge.velocity=false", "bridge.velocity is False, .* does not read bridge"),
        ("fusion-sr4", "score.spread_weight=0.5", "the fusion sees the dial, which says how much spread counts"),
        ("fusion-estimate", "score.draws=7", "score.draws is 7, .*objective=estimate does not read score"),
        ("fusion-estimate", "chain.tau=5", "chain.tau is 5.0, .* does not read chain"),
        ("restorer-sr4", "noise.low=0.1", "noise.low is 0.1, but the training of a restorer does not read noise"),
        ("denoiser", "chain.steps=2", "the training of a denoiser does not read chain"),
    ],
)
def test_what_no_one_would_read_is_refused(recipe: str, override: str, message: str) -> None:
    given = ["data.clean=photos", "partners.restorer=r", "partners.denoiser=d"]
    with pytest.raises(RecipeError, match=message):
        load_recipe(recipe, [*given, override])


@pytest.mark.parametrize(
    "override",
    [
        *("optim.learning_rate=.inf", "score.bands=.nan", "score.lpips=.inf", "optim.ema=.nan", "optim.ema=1"),
        *("optim.ema=-0.1", "optim.warm_up=-3", "optim.weight_decay=-1", "data.workers=-1", "seed=-1"),
        *(f"seed={2**63}", "data.validation_crop=0", "data.validation_images=0", "chain.tau=.inf"),
    ],
)
def test_values_out_of_their_range_are_named(override: str) -> None:
    given = ["data.clean=photos", "partners.restorer=r", "partners.denoiser=d", override]
    with pytest.raises(RecipeError, match=rf"^{override.partition('=')[0]} is ".replace(".", r"\.")):
        load_recipe("fusion-sr4", given)


@pytest.mark.parametrize(("override", "key"), [("score.draws=2.5", "score.draws"), ("chain=null", "chain")])
def test_a_value_of_the_wrong_type_is_named_by_its_key(override: str, key: str) -> None:
    with pytest.raises(RecipeError, match=f"is not valid at {key}: "):
        load_recipe("fusion-sr4", ["data.clean=photos", override])


def test_unknown_recipe_lists_the_known_ones() -> None:
    with pytest.raises(RecipeError, match="restorer-sr4"):
        load_recipe("nothing-like-this")


def test_file_that_is_not_yaml(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("kind: [denoiser")
    with pytest.raises(RecipeError, match="is not valid"):
        load_recipe(str(tmp_path / "recipe.yaml"))
