"""A restoration as a pipeline of the diffusers library, with its folders and habits (extra `diffusers`).

The pipeline holds the networks and the scheduler as diffusers' components and hands every call to `Restoration`, which
does all arithmetic. `DPIRPipeline.from_pretrained` reads a folder or a hub id of that layout; diffusers' own
`DiffusionPipeline.from_pretrained` cannot, because it looks for the class in diffusers alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from dp_ir.checkpoints.architectures import build
from dp_ir.checkpoints.contract import NetworkInfo
from dp_ir.checkpoints.network_file import Kind, NetworkRecord, describe, recorded_info
from dp_ir.diffusion.samplers import StepInfo
from dp_ir.errors import CheckpointError, DPIRError
from dp_ir.extras import require
from dp_ir.integrations.diffusers_sampler import diffusers_sampler
from dp_ir.restoration.inputs import ImageLike, observe
from dp_ir.restoration.pipeline import Restoration, RestorationResult

require("diffusers", "dp_ir.integrations.diffusers", "diffusers")
from diffusers import ConfigMixin, DiffusionPipeline, ImagePipelineOutput, ModelMixin, SchedulerMixin  # noqa: E402
from diffusers.configuration_utils import register_to_config  # noqa: E402
from diffusers.image_processor import VaeImageProcessor  # noqa: E402

_KINDS: tuple[Kind, ...] = ("restorer", "denoiser", "fusion")
_OUTPUT_TYPES = ("pil", "np", "pt")


class DPIRNetwork(ModelMixin, ConfigMixin):  # type: ignore[misc]  # diffusers has no types
    """A network of this package as a model of diffusers; `config.json` names the architecture that builds it.

    In half precision (`dtype=torch.bfloat16`) it runs in autocast, if it is known to bear that.

    Args:
        architecture: a key of `dp_ir.networks.ARCHITECTURES`.
        hyper_parameters: the keyword arguments of the architecture.
        kind: "restorer", "denoiser" or "fusion".
        card: JSON about its training, see `NetworkRecord`.
        stated: fields of `NetworkInfo` that differ from what the architecture says.

    Raises:
        CheckpointError: no such architecture, or hyper-parameters that do not fit it.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        architecture: str,
        hyper_parameters: dict[str, Any],
        kind: Kind,
        card: dict[str, Any] | None = None,
        stated: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.network = build(architecture, hyper_parameters)

    @classmethod
    def from_network(
        cls, network: nn.Module, *, kind: Kind, card: Mapping[str, Any] | None = None, info: NetworkInfo | None = None
    ) -> DPIRNetwork:
        """Wrap a network of this package; it is not copied.

        Raises:
            CheckpointError: the network has no architecture that a configuration could build.
        """
        record = describe(network, kind=kind, card=card, info=info)
        with torch.device("meta"):
            made = cls(record.architecture, record.config, kind, record.card, record.info)
        made.network = network
        return made

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **kwargs: Any) -> Any:
        """Load from a folder or hub id, as every model of diffusers; but all weights must be there and fit.

        Raises:
            CheckpointError: weights are missing, or there are more than the architecture has.
        """
        wanted = kwargs.pop("output_loading_info", False)
        model, loading = super().from_pretrained(pretrained_model_name_or_path, output_loading_info=True, **kwargs)
        faults = [
            f"{len(names)} {what} ({names[0]})"
            for what in ("missing", "unexpected", "mismatched")
            if (names := sorted(map(str, loading[f"{what}_keys"])))
        ]
        if faults:
            raise CheckpointError(
                f"The weights in {pretrained_model_name_or_path} do not fit {model.config.architecture}: "
                f"{', '.join(faults)}; use the folder as it was saved."
            )
        return (model, loading) if wanted else model

    @property
    def record(self) -> NetworkRecord:
        """Identity and card, taken anew at every call."""
        return describe(self.network, kind=self.config.kind, card=self.config.card, info=self.info)

    @property
    def info(self) -> NetworkInfo:
        """What the pipeline must know of the network."""
        config = self.config
        record = NetworkRecord(config.architecture, config.hyper_parameters, config.kind, info=config.stated or {})
        return recorded_info(self.network, record)

    def forward(self, *arguments: Tensor) -> Tensor:
        """Call the network as its architecture wants to be called."""
        half = self.dtype in (torch.bfloat16, torch.float16)
        if self.dtype != torch.float32 and not (half and self.info.supports_bfloat16):
            raise DPIRError(
                f"The {self.config.kind}, {self.config.architecture}, is in {self.dtype} but not known to work in it: "
                "load it in float32."
            )
        with torch.autocast(arguments[0].device.type, self.dtype if half else None, enabled=half):
            return self.network(*arguments)


class DPIRScheduler(SchedulerMixin, ConfigMixin):  # type: ignore[misc]  # diffusers has no types
    """A sampler of this package in the place of a scheduler.

    Put any scheduler that `diffusers_sampler.SUPPORTED` names in its place. Noise levels come from the pipeline's
    settings, not from the scheduler.

    Args:
        sampler: a key of `dp_ir.diffusion.samplers.SAMPLERS`.
        eta: share of fresh noise per step, 0 (none) to 1 (ancestral).
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(self, sampler: str = "ddim", eta: float = 0.0) -> None:
        super().__init__()


@dataclass
class DPIRPipelineOutput(ImagePipelineOutput):  # type: ignore[misc]  # diffusers has no types
    """What the pipeline gives, of the type that was asked for; `std` is numbers, so an array where images are PIL's.

    Args:
        images: the restored images; several samples of an image follow each other.
        restored: the restorer's own estimates, one per image.
        mean: means over the samples of each image; None for one sample.
        std: their standard deviations.
        nfe: evaluations per network that each image went through.
    """

    restored: Any = None
    mean: Any = None
    std: Any = None
    nfe: dict[str, int] | None = None


class DPIRPipeline(DiffusionPipeline):  # type: ignore[misc]  # diffusers has no types
    """DP-IR for users of diffusers.

    With a `DPIRScheduler` and float32 networks every result is that of `Restoration` with precision="float32", bit for
    bit; to rounding where accelerate offloads the networks.

    Args:
        restorer: observation -> restored.
        scheduler: a `DPIRScheduler`, or a supported scheduler of diffusers.
        denoiser: (noisy, sigma) -> denoised; None where tau is 0.
        fusion: (restored, denoised, noisy, sigma) -> fused, and `detail` after them if it sees the dial; None where
            tau is 0.
        settings: fields of `BundleSettings` but `sampler` and `eta`; `DEFAULT_SETTINGS` has the others.

    Examples:
        >>> pipe = DPIRPipeline.from_bundle("sr4")
        >>> pipe.set_progress_bar_config(disable=True)
        >>> pipe(torch.rand(1, 3, 8, 8), num_inference_steps=2, seed=0, output_type="pt").images.shape
        torch.Size([1, 3, 32, 32])
    """

    # The denoiser and the fusion alternate, so one must not push the other off the device.
    model_cpu_offload_seq = "restorer->denoiser"
    _optional_components: ClassVar[list[str]] = ["denoiser", "fusion"]

    def __init__(
        self,
        restorer: DPIRNetwork,
        scheduler: SchedulerMixin,
        denoiser: DPIRNetwork | None = None,
        fusion: DPIRNetwork | None = None,
        settings: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.register_modules(restorer=restorer, scheduler=scheduler, denoiser=denoiser, fusion=fusion)
        self.register_to_config(settings=settings or {})
        self._made: tuple[Any, Restoration] | None = None

    @classmethod
    def from_bundle(cls, name: str | Path, **options: Any) -> DPIRPipeline:
        """Build a pipeline from a bundle of this package, such as "sr4"; arguments as `Restoration.from_pretrained`."""
        return cls.from_restoration(Restoration.from_pretrained(name, **{"device": "cpu", **options}))

    @classmethod
    def from_restoration(cls, restoration: Restoration) -> DPIRPipeline:
        """Build a pipeline from the networks and settings of a restoration; the networks are not copied.

        Raises:
            CheckpointError: a network is not one of this package, so that no folder could rebuild it.
        """
        networks = {
            kind: DPIRNetwork.from_network(
                network.module,
                kind=kind,
                card=network.record.card if network.record is not None else None,
                info=network.info,
            )
            for kind, network in restoration.networks.items()
        }
        settings = asdict(restoration.settings)
        scheduler = DPIRScheduler(sampler=settings.pop("sampler"), eta=settings.pop("eta"))
        return cls(scheduler=scheduler, settings=settings, **networks)

    @classmethod
    def download(cls, pretrained_model_name: str, **options: Any) -> str:
        """Fetch a pipeline's folder from the hub; diffusers' own way refuses components of other packages."""
        from huggingface_hub import snapshot_download  # diffusers brings it

        known = ("cache_dir", "force_download", "local_files_only", "revision", "token")
        given = {name: options[name] for name in known if options.get(name) is not None}
        return snapshot_download(pretrained_model_name, allow_patterns=["*.json", "*.safetensors", "*.md"], **given)

    def enable_sequential_cpu_offload(self, *_: Any, **__: Any) -> None:
        """Refused.

        Raises:
            DPIRError: always.
        """
        raise DPIRError("The networks are too small to be offloaded in pieces: use enable_model_cpu_offload.")

    @property
    def restoration(self) -> Restoration:
        """The restoration that the components make where they are now.

        Raises:
            DPIRError: the components or settings do not go together.
        """
        networks: dict[Kind, Any] = {kind: network for kind in _KINDS if (network := getattr(self, kind)) is not None}
        key = (networks, self.scheduler, self._execution_device, self.config.settings)
        if self._made is None or self._made[0] != key:
            self._made = key, self._restoration(networks)
        return self._made[1]

    def _restoration(self, networks: Mapping[Kind, Any]) -> Restoration:
        own = isinstance(self.scheduler, DPIRScheduler)
        # An identity is one of float32 weights, so in half precision nothing can be said of a fusion's partners.
        exact = all(network.dtype == torch.float32 for network in networks.values())
        return Restoration.from_parts(
            **{kind: _placed(network) for kind, network in networks.items()},
            infos={kind: network.info for kind, network in networks.items()},
            records={kind: network.record for kind, network in networks.items() if exact},
            device=self._execution_device,
            precision="float32",  # otherwise as the networks themselves are
            **self.config.settings,
            **({"sampler": self.scheduler.config.sampler, "eta": self.scheduler.config.eta} if own else {}),
        )

    def __call__(
        self,
        image: ImageLike | Sequence[ImageLike],
        num_inference_steps: int | None = None,
        tau: float | None = None,
        eta: float | None = None,
        detail: float | None = None,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        seed: int | Sequence[int] | None = None,
        num_samples: int = 1,
        output_type: str = "pil",
        return_dict: bool = True,
        callback_on_step_end: Callable[[DPIRPipeline, int, float, dict[str, Tensor]], Any] | None = None,
    ) -> DPIRPipelineOutput | tuple[Any, ...]:
        """Restore images. What is None is as in the settings.

        Args:
            image: a PIL image, array (H, W, 3) or (B, H, W, 3), tensor (B, 3, H, W) in [0, 1], path, or a list of such
                of one size. Only the colours are restored: transparency and the like are kept by `Restoration` alone.
            num_inference_steps: denoiser and fusion evaluations per sample.
            tau: step of the noise schedule where sampling starts; 0 gives the restorer's estimate.
            eta: share of fresh noise per step, for samplers that take one.
            detail: the dial from the restorer's estimate, 0, to a sample, 1.
            generator: one, or one per image; seeds are drawn from it, so it moves on from call to call.
            seed: instead of a generator, one for every image or one per image, as for `Restoration`; 0 by default.
            num_samples: how many samples to draw of each image.
            output_type: "pil", "np" (B, H, W, 3) or "pt" (B, 3, H, W), float32 in [0, 1].
            return_dict: whether to return an object with names instead of a tuple without the None.
            callback_on_step_end: called as (pipeline, step, t, {"noisy": ..., "estimate": ...}) after each estimate, t
                being the step of the noise schedule. What it returns is not used; an exception ends the restoration.

        Raises:
            DPIRError: as `Restoration`; or two sources of seeds, images of several sizes, or an unknown output type.
        """
        if output_type not in _OUTPUT_TYPES:
            raise DPIRError(f"output_type is {output_type!r}: expected one of {', '.join(_OUTPUT_TYPES)}.")
        observation = _batch(image)
        restoration = self.restoration
        with self.progress_bar(total=0) as bar:

            def advance(info: StepInfo) -> None:
                bar.total = info.steps * num_samples
                bar.update()
                if callback_on_step_end is not None:
                    t = float(restoration.schedule.step(info.sigma))
                    callback_on_step_end(self, info.index, t, {"noisy": info.noisy, "estimate": info.estimate})

            result = restoration(
                observation,
                seed=_seeds(generator, seed, len(observation)),
                tau=tau,
                steps=num_inference_steps,
                sampler=None if isinstance(self.scheduler, DPIRScheduler) else diffusers_sampler(self.scheduler),
                eta=eta,
                detail=detail,
                num_samples=num_samples,
                callback=advance,
            )
        self.maybe_free_model_hooks()
        output = DPIRPipelineOutput(
            images=_converted(_in_a_row(result), output_type),
            restored=_converted(result.restored, output_type),
            mean=_converted(result.mean, output_type),
            std=_converted(result.std, "np" if output_type == "pil" else output_type),
            nfe=result.nfe,
        )
        return output if return_dict else output.to_tuple()


def _placed(network: DPIRNetwork) -> Any:
    """The network itself, or, where accelerate moves it from device to device, a function that leaves it alone."""
    return (lambda *arguments: network(*arguments)) if hasattr(network, "_hf_hook") else network


def _batch(image: ImageLike | Sequence[ImageLike]) -> Tensor:
    """Images of any kind as one tensor (B, 3, H, W) in [0, 1]."""
    several = isinstance(image, list | tuple) or (isinstance(image, np.ndarray) and image.ndim == 4)
    tensors = [observe(one).tensor for one in (image if several else [image])]  # type: ignore[union-attr,arg-type]
    sizes = {tuple(tensor.shape[-2:]) for tensor in tensors}
    if len(sizes) != 1:
        raise DPIRError(
            f"The images have the sizes {sorted(sizes)}: give at least one image, and only one size a call."
        )
    return torch.cat(tensors)


def _seeds(
    generator: torch.Generator | Sequence[torch.Generator] | None, seed: int | Sequence[int] | None, images: int
) -> int | Sequence[int]:
    if generator is None:
        return 0 if seed is None else seed
    if seed is not None:
        raise DPIRError("Both a generator and a seed were given: give one of them.")
    each = [generator] * images if isinstance(generator, torch.Generator) else list(generator)
    if len(each) != images:
        raise DPIRError(f"There are {len(each)} generators for {images} images: give one, or one per image.")
    return [int(torch.randint(2**63 - 1, (), generator=own, device=own.device)) for own in each]


def _in_a_row(result: RestorationResult) -> Tensor:
    """All samples of all images, those of one image after each other."""
    return result.image if result.samples is None else result.samples.transpose(0, 1).flatten(0, 1)


def _converted(images: Tensor | None, output_type: str) -> Any:
    if images is None or output_type == "pt":
        return images
    array = VaeImageProcessor.pt_to_numpy(images)
    return array if output_type == "np" else VaeImageProcessor.numpy_to_pil(array)
