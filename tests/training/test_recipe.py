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
        RecipeError, match=r"detail is 0\.25.*set objective=energy-score, or network\.config\.detail=null"
    ):
        load_recipe("fusion-sr4", given)
    assert load_recipe("fusion-sr4", [*given, "network.config.detail=null"]).objective == "estimate"


def test_unknown_recipe_lists_the_known_ones() -> None:
    with pytest.raises(RecipeError, match="restorer-sr4"):
        load_recipe("nothing-like-this")


def test_file_that_is_not_yaml(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("kind: [denoiser")
    with pytest.raises(RecipeError, match="is not valid"):
        load_recipe(str(tmp_path / "recipe.yaml"))
