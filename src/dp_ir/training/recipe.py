"""Training recipes: one YAML file per network, checked against a schema, with overrides from the command line."""

from __future__ import annotations

import importlib.resources
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from dp_ir.errors import RecipeError
from dp_ir.extras import require
from dp_ir.training.recipe_checks import check

if TYPE_CHECKING:
    from importlib.abc import Traversable


@dataclass
class NetworkRecipe:
    """Which network to train."""

    architecture: str = "???"  # a name of checkpoints.ARCHITECTURES
    config: dict[str, Any] = field(default_factory=dict)  # its hyper-parameters; those left out keep their defaults
    init: str | None = None  # weights to start from, instead of random ones: whatever `load_restorer` loads
    init_parts: dict[str, str] = field(default_factory=dict)  # the same of its parts, by their names
    init_sigma: float = 0.05  # noise level, in [0, 1] units, at which a restorer starts that starts from a denoiser


@dataclass
class DataRecipe:
    """Which images to train on."""

    clean: str = "???"  # folder of clean images
    observation: str | None = None  # folder of observations with equal names; None degrades the clean images on the fly
    task: str = "sr4"  # how observation and clean image belong together
    patch: int = 64  # side of the clean training patches, pixels
    validation_fraction: float = 0.06  # share of images held out, chosen by the hash of their names
    validation_crop: int = 192  # side of the central crop that validation looks at
    validation_images: int = 16  # how many held-out images validation looks at
    cache: str | None = None  # folder for decoded pixels; None: the user's cache folder
    description: str = ""  # what the images are and under which licence, for the card
    workers: int = 0  # processes that read patches beside the training process


@dataclass
class NoiseRecipe:
    """Noise levels of denoiser and fusion training: log-normal, clipped, in [0, 1] image units."""

    median: float = 0.12
    log_std: float = 1.0
    low: float = 0.005
    high: float = 1.0


@dataclass
class PartnerRecipe:
    """The frozen networks around a fusion, or before a bridge: whatever `load_restorer` and `load_denoiser` load."""

    restorer: str | None = None
    denoiser: str | None = None
    restorer_info: dict[str, Any] = field(default_factory=dict)  # fields of NetworkInfo that are not as inferred
    denoiser_info: dict[str, Any] = field(default_factory=dict)


@dataclass
class ChainRecipe:
    """The sampler calls that a fusion is trained through, as fields of `BundleSettings`."""

    tau: float = 500
    steps: int = 1
    sampler: str = "ddim"
    spacing: str = "log-sigma"
    sigma_min: float = 0.01
    eta: float = 0.0


@dataclass
class ScoreRecipe:
    """The energy score of what the chain draws; see `training.energy_score`."""

    draws: int = 2  # samples per observation
    exponent: float = 1.0
    spread_weight: float = 1.0  # of a fusion that does not see the dial; one that does is trained for all of it
    bands: float = 1.0  # weight of patches of Laplacian bands
    lpips: float = 0.0  # weight of the features of LPIPS; their weights are those of --lpips
    lpips_half: float = 0.0  # the same of images at half the size


@dataclass
class BridgeRecipe:
    """What a bridge is trained for; where it starts belongs to the network (see `networks.UNetBridge`)."""

    velocity: bool = True  # count the error of the velocity (PMRF), not of the clean image (InDI)


@dataclass
class OptimRecipe:
    """AdamW with warm-up, a constant learning rate and its decay to zero, and a moving average of the weights."""

    steps: int = 10_000
    batch: int = 16  # patches per step, over all processes
    learning_rate: float = 1e-3
    warm_up: int = 200  # steps
    decay: float = 1.0  # share of the steps after the warm-up, at the end, over which the learning rate falls to zero
    weight_decay: float = 0.0
    clip: float = 1.0  # largest gradient norm
    ema: float = 0.999  # decay of the moving average of the weights, less during the first steps


@dataclass
class LogRecipe:
    """How often something is written."""

    every: int = 100  # steps between rows of log.csv
    validate: int = 1_000  # steps between validations
    checkpoint: int = 500  # steps between checkpoints
    tensorboard: bool = False


@dataclass
class Recipe:
    """Everything that defines a training run."""

    kind: str = "???"  # denoiser, restorer, fusion or bridge
    network: NetworkRecipe = field(default_factory=NetworkRecipe)
    data: DataRecipe = field(default_factory=DataRecipe)
    noise: NoiseRecipe = field(default_factory=NoiseRecipe)
    partners: PartnerRecipe = field(default_factory=PartnerRecipe)
    bridge: BridgeRecipe = field(default_factory=BridgeRecipe)
    objective: str = "estimate"  # of a fusion: "estimate" of the clean image, or "energy-score" of its chain's samples
    chain: ChainRecipe = field(default_factory=ChainRecipe)
    score: ScoreRecipe = field(default_factory=ScoreRecipe)
    optim: OptimRecipe = field(default_factory=OptimRecipe)
    log: LogRecipe = field(default_factory=LogRecipe)
    precision: str = "bfloat16"  # of the networks' arithmetic: float32, bfloat16 or float16; weights stay float32
    seed: int = 0


def shipped_recipes() -> list[str]:
    """Names of the recipes that come with the package."""
    return sorted(_recipe_files())


def _recipe_files() -> dict[str, Traversable]:
    """The files of shipped recipes by name: those of a task lie in its folder."""
    folders = [importlib.resources.files("dp_ir.training") / "recipes"]
    folders += [entry for entry in importlib.resources.files("dp_ir.tasks").iterdir() if entry.is_dir()]
    files = [file for folder in folders for file in folder.iterdir()]
    return {Path(file.name).stem: file for file in files if file.name.endswith(".yaml")}


def load_recipe(name_or_path: str, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe, apply overrides and check both against the schema.

    Args:
        name_or_path: the name of a shipped recipe, or a YAML file.
        overrides: `section.key=value` strings; they win over the file.

    Raises:
        RecipeError: the recipe is unknown or unreadable, a key is unknown, a value has the wrong type or is missing.
        MissingExtraError: the extra `train` is not installed.
    """
    require("omegaconf", "Training", "train")
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    if (shipped := _recipe_files().get(name_or_path)) is not None:
        text = shipped.read_text("utf-8")
    else:
        path = Path(name_or_path)
        if not path.is_file():
            names = ", ".join(shipped_recipes())
            raise RecipeError(
                f"There is no recipe '{name_or_path}': give a YAML file or one of the shipped names ({names})."
            )
        text = path.read_text("utf-8")
    try:
        merged = OmegaConf.merge(
            OmegaConf.structured(Recipe), OmegaConf.create(text), OmegaConf.from_dotlist(list(overrides))
        )
        missing = sorted(OmegaConf.missing_keys(merged))
        if missing:
            given = " ".join(f"{key}=..." for key in missing)
            raise RecipeError(
                f"The recipe '{name_or_path}' leaves open {', '.join(missing)}: add {given} to the command."
            )
        recipe = cast(Recipe, OmegaConf.to_object(merged))
    except (OmegaConfBaseException, YAMLError, ValueError, TypeError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        key = getattr(error, "full_key", None)
        where = f" at {key}" if key else ""
        given = f" with {' '.join(overrides)}" if overrides and not key else ""
        raise RecipeError(f"The recipe '{name_or_path}'{given} is not valid{where}: {reason}.") from error
    check(recipe)
    return recipe


def recipe_text(recipe: Recipe) -> str:
    """The recipe as YAML, as it is stored beside the weights."""
    from omegaconf import OmegaConf

    return OmegaConf.to_yaml(OmegaConf.structured(recipe))
