"""Model cards: the README.md of a bundle, rendered from its settings and the records of its networks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dp_ir.checkpoints.network_file import Kind, NetworkRecord
from dp_ir.checkpoints.trained_for import trained_for
from dp_ir.networks import ARCHITECTURES
from dp_ir.sampling_settings import SETTINGS

_ROLES: dict[Kind, str] = {
    "restorer": "Restorer: observation → E[x0 | y]",
    "denoiser": "Denoiser: noisy image and noise level → E[x0 | x_t]",
    "fusion": "Fusion: both estimates → E[x0 | y, x_t]",
}


def render_card(
    name: str,
    settings: Mapping[str, Any],
    records: Mapping[Kind, NetworkRecord],
    partners: Mapping[str, str],
) -> str:
    """Render a model card in Markdown with the front matter that model hubs read.

    Args:
        name: title of the bundle.
        settings: fields of `BundleSettings`.
        records: per kind, what is known of the network; every entry of its card becomes a row.
        partners: identities of the networks the fusion was trained with.
    """
    licence = _text(settings["licence"]) or "not stated"
    lines = ["---", "library_name: dp-ir", "pipeline_tag: image-to-image"]
    if settings["licence"]:
        lines.append(f"license: {_text(settings['licence']).lower()}")
    lines += ["tags: [image-restoration, diffusion]", "---", "", f"# {name}", ""]
    task = f" for the task `{settings['task']}`" if settings["task"] else ""
    lines += [
        f"A bundle of dp-ir{task}: {_contents(records)}.",
        "",
        "```python",
        *_example(name, records),
        "```",
        "",
        f"Licence of the weights: {licence}.",
    ]
    if "fusion" in records:
        lines += ["", "## Sampling", "", *_table((key, settings[key]) for key in SETTINGS)]
    if settings["quality"]:
        lines += ["", "## Measured quality", "", *_table(settings["quality"].items())]
    for kind, record in records.items():
        lines += ["", f"## {_ROLES[kind]}", "", *_table(_rows(record))]
        if kind == "fusion" and partners:
            lines += ["", "Trained with:", "", *_table(partners.items())]
    return "\n".join(lines) + "\n"


def _contents(records: Mapping[Kind, NetworkRecord]) -> str:
    if set(records) == set(_ROLES):
        return (
            "a restorer, a denoiser and the fusion network that combines them while a diffusion sampler runs from an "
            "intermediate step"
        )
    return " and ".join(f"a {kind}" for kind in records)


def _example(name: str, records: Mapping[Kind, NetworkRecord]) -> list[str]:
    """How to use a bundle; what it lacks is given."""
    if set(records) == {"denoiser"}:
        return ["from dp_ir import load_denoiser", "", f'denoiser = load_denoiser("path/to/{name}")']
    lacking = [kind for kind in _ROLES if kind not in records] if "fusion" in records else []
    if "fusion" not in records and "restorer" not in records:
        lacking = ["restorer"]
    given = "".join(f', {kind}="path/to/{kind}.pth"' for kind in lacking)
    restorer = ARCHITECTURES.get(records["restorer"].architecture) if "restorer" in records else None
    # The planes R, G, G, B of a mosaic: such a restorer takes bursts.
    source = "frames/" if getattr(restorer, "channels", 3) == 4 else "photo.png"
    return [
        "from dp_ir import Restoration",
        "",
        f'result = Restoration.from_pretrained("path/to/{name}"{given})("{source}")',
    ]


def _rows(record: NetworkRecord) -> Iterator[tuple[str, Any]]:
    yield "architecture", f"{record.architecture} ({record.parameters / 1e6:.2f} M parameters)"
    yield "hyper-parameters", record.config
    if record.kind == "fusion":
        yield "trained for", trained_for(record.chain)
    yield from ((key, value) for key, value in record.card.items() if key not in ("partners", "chain"))
    yield "sha256", record.sha256


def _table(rows: Any) -> list[str]:
    return ["| | |", "|---|---|", *(f"| {_text(key)} | {_text(value)} |" for key, value in _flat(rows))]


def _flat(rows: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Rows with nested mappings spelled out, as "set5, psnr_y"."""
    for key, value in rows:
        name = f"{prefix}{str(key).replace('_', ' ')}"
        if isinstance(value, Mapping):
            yield from _flat(value.items(), f"{name}, ")
        else:
            yield name, value


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(_text(item) for item in value)
    return " ".join(str(value).split()).replace("|", "\\|")
