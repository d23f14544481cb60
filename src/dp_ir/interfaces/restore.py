"""`dp-ir restore`: photos, or bursts of RAW frames. Heavy imports wait until it is called."""

from __future__ import annotations

from dataclasses import asdict
from enum import Enum
from functools import partial
from typing import Annotated

import typer

from dp_ir.errors import DPIRError
from dp_ir.interfaces.options import (
    MACHINE,
    NETWORKS,
    OVERRIDE_BY_KIND,
    SAMPLING,
    DenoiserOption,
    DetailOption,
    EngineName,
    EtaOption,
    FusionOption,
    LongEdgeOption,
    PrecisionName,
    QualityOption,
    RestorerOption,
    SamplerOption,
    ScaleOption,
    SigmaMinOption,
    SpacingOption,
    StepsOption,
    TauOption,
    WidthOption,
)

RESTORE_HELP = (
    "Restore images, or bursts of RAW frames.\n\n"
    "The same command goes on where it was stopped: results that exist are skipped, unless their input changed; "
    "dp-ir-manifest.jsonl in the folder says what became of each. IN and OUT may be URLs, such as s3://bucket/photos, "
    "and - is standard input or output.\n\n"
    "In a folder, a.jpg becomes a.png; images that share a name keep their suffix "
    "(a.jpg.png, a.tif.png). With several samples, NAME-std.png holds their standard deviation, where white is 1.\n\n"
    "Where the bundle restores bursts (--task burst), IN is a folder of frames (DNG, CR2, NEF, ARW, ..., or images), a "
    "folder of such folders, or one RAW file; FOLDER becomes FOLDER.png, with 16 bits."
)


class FormatName(str, Enum):
    """The formats of `dp_ir.batch.plan.FORMATS`."""

    PNG = "png"
    JPEG = "jpeg"
    WEBP = "webp"
    AVIF = "avif"
    JXL = "jxl"
    TIFF = "tiff"
    BMP = "bmp"


class ExecutorName(str, Enum):
    """Where a batch runs."""

    LOCAL = "local"
    RAY = "ray"


def restore(
    context: typer.Context,
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="IN", help="Images or bursts: files, folders (with their sub-folders), patterns, or -."),
    ],
    output: Annotated[
        str,
        typer.Option("--out", "-o", metavar="OUT", help="A file for one input, a folder, which is made, or -."),
    ],
    bundle: Annotated[
        str | None,
        typer.Option(
            "--task",
            "--bundle",
            "-b",
            help="What restores: a shipped name, which is that of its task (photo, clean, sr4, deblur, burst), a "
            "folder, or a hub id OWNER/NAME.",
            show_default="photo, 4x larger, up to 2 megapixels, clean above; sr4 for own networks",
        ),
    ] = None,
    restorer: RestorerOption = None,
    denoiser: DenoiserOption = None,
    fusion: FusionOption = None,
    stated: Annotated[
        list[str] | None,
        typer.Option("--override", rich_help_panel=NETWORKS, metavar="KIND.KEY=VALUE", help=OVERRIDE_BY_KIND),
    ] = None,
    seed: Annotated[
        int,
        typer.Option(
            "--seed",
            rich_help_panel=SAMPLING,
            min=0,
            help="Which of the possible results; the same seed gives the same one.",
        ),
    ] = 0,
    samples: Annotated[
        int,
        typer.Option(
            "--samples",
            rich_help_panel=SAMPLING,
            min=1,
            help="Results per image: NAME-1, NAME-2, ..., NAME-mean and NAME-std.",
        ),
    ] = 1,
    detail: DetailOption = None,
    steps: StepsOption = None,
    tau: TauOption = None,
    sampler: SamplerOption = None,
    spacing: SpacingOption = None,
    eta: EtaOption = None,
    sigma_min: SigmaMinOption = None,
    format: Annotated[
        FormatName | None,
        typer.Option("--format", "-f", help="Format of the results.", show_default="the suffix of OUT, else png"),
    ] = None,
    quality: QualityOption = None,
    scale: ScaleOption = None,
    width: WidthOption = None,
    long_edge: LongEdgeOption = None,
    crop: Annotated[
        str | None,
        typer.Option(
            "--crop",
            metavar="X,Y,WIDTH,HEIGHT",
            help="Restore only this part, in pixels of the upright input.",
            show_default="the whole",
        ),
    ] = None,
    linear: Annotated[
        bool,
        typer.Option("--linear", help="Of bursts: linear sRGB without a tone curve, a TIFF or PNG of 16 bits."),
    ] = False,
    tile: Annotated[
        int | None,
        typer.Option(
            "--tile",
            rich_help_panel=MACHINE,
            min=64,
            metavar="PIXELS",
            help="Longest side of the tiles of large images, in pixels of the result.",
            show_default="as memory allows",
        ),
    ] = None,
    memory: Annotated[
        float | None,
        typer.Option(
            "--memory",
            rich_help_panel=MACHINE,
            min=0.0,
            metavar="GB",
            help="Memory to use at most; images that need more are restored from disk to disk.",
            show_default="half of what is free",
        ),
    ] = None,
    max_pixels: Annotated[
        float,
        typer.Option(
            "--max-pixels",
            rich_help_panel=MACHINE,
            min=0.0,
            metavar="MEGAPIXELS",
            help="Refuse images, and frames, that are larger, or whose files are larger than so many pixels can be.",
        ),
    ] = 200.0,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            rich_help_panel=MACHINE,
            help="Restore again what exists in OUT; inputs are never overwritten.",
        ),
    ] = False,
    device: Annotated[
        str, typer.Option("--device", rich_help_panel=MACHINE, help="auto, cpu, cuda, cuda:1, mps, ...")
    ] = "auto",
    precision: Annotated[
        PrecisionName,
        typer.Option(
            "--precision", rich_help_panel=MACHINE, help="Precision of the networks; auto is bfloat16 where it is fast."
        ),
    ] = PrecisionName.AUTO,
    engine: Annotated[
        EngineName,
        typer.Option(
            "--engine", rich_help_panel=MACHINE, help="What runs the networks; all but torch take some time to start."
        ),
    ] = EngineName.TORCH,
    executor: Annotated[
        ExecutorName,
        typer.Option(
            "--executor",
            rich_help_panel=MACHINE,
            help="Where: in this process, or on Ray (RAY_ADDRESS, else this machine).",
        ),
    ] = ExecutorName.LOCAL,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            rich_help_panel=MACHINE,
            min=1,
            help="With ray: how many at once.",
            show_default="one per GPU, or per 4 processor cores",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", rich_help_panel=MACHINE, help="Print one JSON object per input, and a summary.")
    ] = False,
) -> None:
    """Restore images; the help text is above, and the rules are those of `dp_ir.batch.plan`."""
    from dp_ir.batch.manifest import Manifest
    from dp_ir.batch.output import output_of
    from dp_ir.batch.plan import FORMATS, carry_out, plan_batch
    from dp_ir.batch.provenance import joint_provenance, provenance
    from dp_ir.batch.worker import Worker
    from dp_ir.image.files.writing import QUALITY
    from dp_ir.image.picture.output_size import OutputSize
    from dp_ir.interfaces.outcomes import report
    from dp_ir.interfaces.progress import restore_with_progress
    from dp_ir.interfaces.sources import box_of, restores_bursts
    from dp_ir.interfaces.streams import streams
    from dp_ir.restoration.replacement import restoration_of
    from dp_ir.restoration.sampling_plan import checked_detail
    from dp_ir.tasks.choice import LARGE_PHOTO, SMALL_PHOTO, chosen_bundle, told_findings

    networks = {"restorer": restorer, "denoiser": denoiser, "fusion": fusion}
    if bundle is None and (stated or any(networks.values())):
        bundle = "sr4"
    bursts = bundle is not None and restores_bursts(bundle)
    suffix = FORMATS[format.value] if format else FORMATS["png"]
    standing = context.with_resource(
        streams(inputs, output, suffix=suffix, bursts=bursts, samples=samples, as_json=as_json)
    )
    place = output_of(standing.output)
    box = None if crop is None else box_of(crop)
    dial = None if detail is None else checked_detail(detail)
    spread = spacing.value if spacing else None
    changes = {"tau": tau, "steps": steps, "spacing": spread, "sigma_min": sigma_min, "detail": dial}
    settings = {"seed": seed, "sampler": sampler.value if sampler else None, "eta": eta}
    size = OutputSize(scale, width, long_edge)
    made_by = joint_provenance(
        {
            name: provenance(
                name,
                networks,
                stated or [],
                **changes,
                **settings,
                **asdict(size),
                quality=quality,
                samples=samples,
                crop=crop,
                linear=linear,
                precision=precision.value,
                engine=engine.value,
            )
            for name in ((SMALL_PHOTO, LARGE_PHOTO) if bundle is None else (bundle,))
        }
    )
    manifest = Manifest(place.folder)
    with standing.speaking():
        plan = plan_batch(
            standing.inputs,
            place,
            format=format.value if format else None,
            samples=samples,
            overwrite=overwrite,
            bursts=bursts,
            linear=linear,
            quality=quality,
            manifest=manifest,
            made_by=made_by,
        )
    load = partial(
        restoration_of,
        sources=networks,
        stated=stated or [],
        device=device,
        precision=precision.value,
        engine=engine.value,
        settings=changes,
    )
    limits = {
        "tile": tile,
        "memory": None if memory is None else round(memory * 1e9),
        "max_pixels": round(max_pixels * 1e6),
    }
    files = {"crop": box, "linear": linear, "size": size, "quality": quality or QUALITY}
    worker = Worker(
        load, bundle or chosen_bundle, {**settings, **limits, **files}, told_findings if bundle is None else None
    )
    if executor is ExecutorName.RAY:
        from dp_ir.interfaces.distributed import restore_on_ray

        run = partial(restore_on_ray, worker=worker, workers=workers, on_gpus=device in ("auto", "cuda"))
    elif workers is not None:
        raise DPIRError("--workers was given, but this process restores one image after the other: add --executor ray.")
    else:
        run = partial(restore_with_progress, worker=worker)
    with standing.speaking():
        outcomes = standing.passed(carry_out(plan, run, manifest, made_by))
        failed = report(outcomes, left_out=plan.left_out, as_json=as_json, to_stderr=standing.writes)
    if failed:
        raise typer.Exit(1)
