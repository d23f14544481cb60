"""The restoration: restorer once, one jump to tau, then a sampler over the fused estimate.

restored = encode(restorer(observation))                           E[x0 | y], in sRGB whatever the restorer's own space
noisy    = jump(restored, tau)                                     eq. 8 of arXiv 2411.05993
sampler over estimate(noisy, sigma) = fusion(restored, denoiser(noisy, sigma), noisy, sigma)
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dp_ir.checkpoints.bundle import Bundle, BundleConfig, BundleSettings, locate_bundle, read_bundle, write_bundle
from dp_ir.checkpoints.contract import Fusion, NetworkInfo
from dp_ir.checkpoints.hub import publish
from dp_ir.checkpoints.loaded_network import LoadedNetwork
from dp_ir.checkpoints.loading import Source, as_loaded
from dp_ir.checkpoints.network_file import Kind, NetworkRecord, describe
from dp_ir.diffusion.jump import jump
from dp_ir.diffusion.noise import generators
from dp_ir.diffusion.samplers import Callback, Sampler
from dp_ir.diffusion.schedule import NoiseSchedule, Spacing
from dp_ir.errors import BundleError, DPIRError, NetworkContractError
from dp_ir.networks.default_dtype import float32_by_default
from dp_ir.restoration.inputs import ImageLike, observe
from dp_ir.restoration.result import RestorationResult as RestorationResult  # others know it by this module
from dp_ir.restoration.sampling_plan import (
    Chain,
    check_sigma_range,
    checked_detail,
    sampler_of,
    seen_and_share,
    warn_of_unseen_chain,
)
from dp_ir.restoration.seeds import image_seeds, plain, sample_seed
from dp_ir.restoration.settings import DEFAULT_SETTINGS as DEFAULT_SETTINGS  # others know it by this module
from dp_ir.restoration.settings import changed_settings, settings_with_fusion
from dp_ir.restoration.tiling.tiled_networks import Progress, TiledNetworks
from dp_ir.restoration.trained_with import (
    chain_of,
    fusion_partners,
    named_partners,
    records_of,
    warn_of_unseen_partners,
)
from dp_ir.runtime.engines import Engine, engine_device, run_by
from dp_ir.runtime.precision import Precision

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from dp_ir.sampling_settings import SettingChanges


class Restoration:
    """A restorer, a denoiser and a fusion network, ready to restore images.

    Build one with `from_pretrained`, `from_parts` or `restorer_only`.

    Examples:
        >>> import torch
        >>> double = lambda y: torch.nn.functional.interpolate(y, scale_factor=2)
        >>> restore = Restoration.from_parts(
        ...     restorer=double,
        ...     denoiser=lambda noisy, sigma: noisy,
        ...     fusion=lambda restored, denoised, noisy, sigma: (restored + denoised) / 2,
        ... )
        >>> result = restore(torch.rand(1, 3, 8, 8), seed=1)
        >>> result.image.shape, result.nfe
        (torch.Size([1, 3, 16, 16]), {'restorer': 1, 'denoiser': 8, 'fusion': 8})
    """

    def __init__(
        self,
        networks: Mapping[Kind, LoadedNetwork],
        settings: BundleSettings,
        partners: Mapping[str, str],
        *,
        device: str | torch.device,
        precision: Precision,
        engine: Engine = "torch",
    ) -> None:
        if "restorer" not in networks:
            example = (
                f", such as {partners['restorer']}, for which the fusion was trained" if "restorer" in partners else ""
            )
            raise DPIRError(
                f"A restoration needs a restorer, and there is only a {' and a '.join(networks)}: give one with "
                f"restorer= (--restorer){example}."
            )
        for kind, network in networks.items():
            if network.info.input == "image" and network.info.channels != 3:
                raise NetworkContractError(
                    f"The {kind} takes images of {network.info.channels} channel(s): a restoration needs networks for "
                    "RGB, or a restorer whose input is stated to be a burst (input=burst)."
                )
        self.settings = replace(settings, detail=checked_detail(settings.detail))
        self.partners = dict(partners)
        self.schedule = NoiseSchedule.from_config(settings.schedule)
        self._engine, self._precision = engine, precision
        self.networks = dict(networks)
        self.to(device)
        self._trained_for = chain_of(networks)
        self._chain_said = False
        self.chain()  # settings that cannot run are refused now, not at the first image
        warn_of_unseen_partners(self.partners, list(networks), records_of(networks), stacklevel=3)

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path,
        *,
        restorer: Source | None = None,
        denoiser: Source | None = None,
        fusion: Fusion | str | Path | None = None,
        device: str | torch.device = "auto",
        precision: Precision = "auto",
        engine: Engine = "torch",
        revision: str | None = None,
        **changes: Unpack[SettingChanges],
    ) -> Restoration:
        """Read a bundle.

        Args:
            name: a shipped bundle ("sr4"), a folder, or a hub id ("owner/name", needs the extra `hub`).
            restorer: used instead of the bundle's own: whatever `load_restorer` takes.
            denoiser: likewise, whatever `load_denoiser` takes.
            fusion: likewise, a module, a function or a network file; the chain that it was trained through, if any,
                replaces the bundle's. One without takes the place of one with a chain as `DEFAULT_SETTINGS` say.
            device: "auto", "cpu", "cuda", "mps".
            precision: of the networks; see `dp_ir.runtime.precision`.
            engine: what runs them; see `dp_ir.runtime.engines`.
            revision: branch, tag or commit of a hub id.
            changes: fields of `BundleSettings` that replace those of the bundle, such as `tau=300`.

        Raises:
            BundleError: no such bundle, or one that contradicts itself.
            DPIRError: the bundle lacks a network and none is given.
            CheckpointError: a network's file is damaged.
            SigmaRangeError: sampling would start at a noise level the denoiser or the fusion never saw.
            NetworkContractError: a network is of no use here, such as one for grey images.
        """
        bundle = read_bundle(locate_bundle(name, revision=revision))
        own = {kind: as_loaded(kind, module, record=bundle.records[kind]) for kind, module in bundle.networks.items()}
        given = _loaded({"restorer": restorer, "denoiser": denoiser, "fusion": fusion})
        partners = fusion_partners(given) if "fusion" in given else named_partners(bundle.partners, bundle.records)
        settings = bundle.settings
        if "fusion" in given:
            settings = settings_with_fusion(settings, bundle.records.get("fusion"), given["fusion"].record)
        settings = changed_settings(settings, changes)
        if given or changes:  # what was measured was the bundle as it is
            settings = replace(settings, quality={}, licence="" if given else settings.licence)
        return cls({**own, **given}, settings, partners, device=device, precision=precision, engine=engine)

    @classmethod
    def from_parts(
        cls,
        *,
        restorer: Source,
        denoiser: Source | None = None,
        fusion: Fusion | str | Path | None = None,
        settings: BundleSettings | None = None,
        infos: Mapping[Kind, NetworkInfo] | None = None,
        records: Mapping[Kind, NetworkRecord] | None = None,
        device: str | torch.device = "auto",
        precision: Precision = "auto",
        engine: Engine = "torch",
        **changes: Unpack[SettingChanges],
    ) -> Restoration:
        """Put own networks together; modules are moved to the device, otherwise nothing about them is changed.

        Args:
            restorer: observation -> restored; a module, a function, or whatever else `load_restorer` takes.
            denoiser: (noisy, sigma) -> denoised; likewise.
            fusion: (restored, denoised, noisy, sigma) -> fused; a module, a function, or a network file.
            settings: how they are run; by default `DEFAULT_SETTINGS`, with the chain that the fusion was trained
                through, if any.
            infos: what is known of a network, where it does not say so itself; see `info_of`.
            records: records of networks of this package as `load_network` gives them; they carry the cards that
                `save_pretrained` writes, and the partners and the chain a fusion was trained with.
            device: "auto", "cpu", "cuda", "mps".
            precision: of the networks; see `dp_ir.runtime.precision`.
            engine: what runs them; see `dp_ir.runtime.engines`.
            changes: fields of `BundleSettings` that replace those of `settings`, such as `tau=300`.

        Raises:
            DPIRError: the denoiser or the fusion is missing though tau is not 0, or an unknown setting.
            SigmaRangeError: sampling would start at a noise level the denoiser never saw.
        """
        sources: dict[Kind, Any] = {"restorer": restorer, "denoiser": denoiser, "fusion": fusion}
        networks = _loaded(sources, infos or {}, records or {})
        if settings is None:
            settings = changed_settings(DEFAULT_SETTINGS, chain_of(networks))
        return cls(
            networks,
            changed_settings(settings, changes),
            fusion_partners(networks),
            device=device,
            precision=precision,
            engine=engine,
        )

    @classmethod
    def restorer_only(
        cls,
        restorer: Source,
        *,
        infos: Mapping[Kind, NetworkInfo] | None = None,
        device: str | torch.device = "auto",
        precision: Precision = "auto",
        engine: Engine = "torch",
    ) -> Restoration:
        """The restorer's own estimate, without any diffusion: the same as tau = 0; arguments as of `from_parts`."""
        return cls.from_parts(restorer=restorer, infos=infos, device=device, precision=precision, engine=engine, tau=0)

    @property
    def takes_bursts(self) -> bool:
        """Whether bursts are restored, rather than single images."""
        return self.networks["restorer"].info.input == "burst"

    def to(self, device: str | torch.device) -> Restoration:
        """Move the networks to a device, such as "cuda"; "auto" is the best there is. Gives the restoration itself.

        Raises:
            DPIRError: there is no such device here, or the engine does not run on it.
        """
        self.device = engine_device(self._engine, device)
        self.networks = {
            kind: run_by(self._engine, network, device=self.device, precision=self._precision)
            for kind, network in self.networks.items()
        }
        self._bytes_per_pixel: dict[str, float] = {}
        return self

    def save_pretrained(
        self, folder: str | Path, *, shared: Mapping[Kind, str] | None = None, without: Collection[Kind] = ()
    ) -> BundleConfig:
        """Write a bundle that `from_pretrained` reads back bit-equal; self-contained unless `shared` names other files.

        Args:
            folder: where to write.
            shared: see `dp_ir.checkpoints.bundle.write_bundle`.
            without: networks that are left out, to be given when the bundle is used.

        Raises:
            BundleError: a network is not one of this package, so that no file could rebuild it.
            CheckpointError: the folder cannot be written.
        """
        kept = {kind: network for kind, network in self.networks.items() if kind not in without}
        if foreign := [kind for kind, network in kept.items() if network.record is None]:
            raise BundleError(
                f"The {' and the '.join(foreign)} cannot be saved: a bundle holds networks that a file can name; leave "
                f"others out with without={foreign} and give them to from_pretrained."
            )
        # Training may have gone on since this object was made, so identities are taken anew.
        records = {
            kind: describe(network.module, kind=kind, card=network.record.card, info=network.info)
            for kind, network in kept.items()
            if network.record is not None
        }
        modules = {kind: network.module for kind, network in kept.items()}
        return write_bundle(folder, Bundle(self.settings, modules, records, self.partners), shared=shared)

    def push_to_hub(self, repository: str, *, private: bool = False, **options: Any) -> str:
        """Publish the bundle on the hub, as `save_pretrained` writes it; needs the extra `hub`, and to be logged in.

        Args:
            repository: "owner/name"; it is made where it does not exist.
            private: of a repository that is made.
            options: further arguments of `save_pretrained`.

        Returns:
            The address of what was uploaded.

        Raises:
            BundleError: as `save_pretrained`; or the hub refuses, the sentence says why.
            MissingExtraError: the extra is not installed.
        """
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(Path(folder) / repository.rpartition("/")[2], **options)
            return publish(Path(folder) / repository.rpartition("/")[2], repository, private=private)

    def __call__(
        self,
        image: ImageLike,
        *,
        seed: int | Sequence[int] | None = 0,
        tau: float | None = None,
        steps: int | None = None,
        sampler: str | Sampler | None = None,
        eta: float | None = None,
        spacing: Spacing | None = None,
        sigma_min: float | None = None,
        detail: float | None = None,
        num_samples: int = 1,
        start: Tensor | None = None,
        tile: int | None = None,
        memory: int | None = None,
        callback: Callback | None = None,
        progress: Progress | None = None,
    ) -> RestorationResult:
        """Restore an image, or a batch of images of one size given as a tensor.

        Args:
            image: a path, a file's content or an open file, `Picture`, PIL image, numpy array (H, W, 3), or tensor
                (B, 3, H, W) or (3, H, W) in [0, 1]; where the restorer takes bursts a `Burst`, a folder of frames, or a
                RAW file.
            seed: one for every image, or one per image of a batch; None draws one by chance for each. An image's result
                depends on its own seed alone, not on the batch it is in; images with the same seed get the same noise.
            tau: step of the schedule where sampling starts; 0 gives the restorer's estimate. The settings' own by
                default, as for all that follow.
            steps: denoiser and fusion evaluations per sample.
            sampler: a key of `SAMPLERS`, or a function that is called as those are, such as `diffusers_sampler` makes.
            eta: share of fresh noise per step; with another sampler than the settings' that sampler's own default.
            spacing: how the steps are spread, see `NoiseSchedule.sigma_grid`.
            sigma_min: last noise level before 0, in [0, 1] units.
            detail: the dial from the restorer's estimate, 0, which calls no other network, to a sample, 1. A fusion
                that sees it makes what lies between; of any other it is the straight line.
            num_samples: how many samples to draw; the first is the one that num_samples = 1 gives.
            start: what the jump takes to tau instead of the restorer's estimate: a tensor (B, 3, H, W) in [0, 1] units,
                of the size of the result. The fusion sees the restorer's estimate all the same.
            tile: longest side of the tiles that the networks are run in, in pixels of the result; None for the largest
                that fits into memory. Tiles share one noise and are blended at every step, and show in the result
                only where a network looks further than `NetworkInfo.receptive_field` or 40 pixels.
            memory: bytes that the process may hold, which the size of the tiles is chosen for; half of what is free by
                default.
            callback: called after every step with a `StepInfo`; an exception it raises ends the restoration.
            progress: called after every tile with the share of the restoration that is done, 0 to 1; likewise.

        Raises:
            ImageReadError: not an image, or one in another range; an image in place of a burst, or the reverse.
            SigmaRangeError: tau or sigma_min lies outside what the denoiser was trained for.
            ScheduleError: tau, steps, sampler, eta, spacing, sigma_min or detail is not valid.
            NetworkContractError: a network returned another shape, NaN or infinity.
            DPIRError: `start` has another size than the result; the tile is too small.

        Warns:
            TilingNote: memory ran out, so that smaller tiles are used from then on.
            UnseenChainWarning: the fusion was trained for other sampler calls; said once.
        """
        tau, steps, eta, sigma_min, detail = map(plain, (tau, steps, eta, sigma_min, detail))
        num_samples, tile, memory = map(plain, (num_samples, tile, memory))
        if isinstance(num_samples, bool) or not isinstance(num_samples, int) or num_samples < 1:
            raise DPIRError(f"num_samples is {num_samples!r}: expected a whole number of at least 1.")
        chain = self.chain(tau, steps, sampler, eta, spacing, sigma_min, detail)
        self.warn_of_unseen_chain(chain, other_start=start is not None, stacklevel=2)
        observation = observe(image, burst=self.takes_bursts)
        seeds = image_seeds(seed, len(observation.tensor))
        with float32_by_default(), torch.inference_mode(), self.evaluation_mode():
            passes = self.passes(tile, memory, num_samples * chain.calls, progress)
            restored = passes.restored(observation.tensor, observation.encode)
            first = restored if start is None else _checked_start(start.to(restored), restored)
            drawn = [
                self._sample(
                    restored, first, [sample_seed(own, index) for own in seeds], chain, passes, callback
                ).clamp(0, 1)
                for index in range(num_samples)
            ]
        # Copies made here are ordinary tensors, those made in inference mode could not enter autograd.
        finals = [sample.clone() for sample in drawn]
        pictures = [observation.picture(sample) for sample in finals]
        stack = torch.stack(finals) if num_samples > 1 else None
        return RestorationResult(
            image=pictures[0],
            restored=observation.picture(restored.clamp(0, 1).clone()),
            samples=observation.stack(pictures) if stack is not None else None,
            mean=observation.picture(stack.mean(0)) if stack is not None else None,
            std=observation.measurement(stack.std(0)) if stack is not None else None,
            nfe={"restorer": 0, "denoiser": 0, "fusion": 0, **passes.calls},
            seeds=tuple(seeds),
        )

    def passes(self, tile: int | None, memory: int | None, steps: int, progress: Progress | None) -> TiledNetworks:
        """The passes over one image; see `TiledNetworks`."""
        return TiledNetworks(
            self.networks, tile=tile, memory=memory, steps=steps, progress=progress, measured=self._bytes_per_pixel
        )

    def _sample(
        self,
        restored: Tensor,
        start: Tensor,
        seeds: Sequence[int],
        chain: Chain,
        passes: TiledNetworks,
        callback: Callback | None,
    ) -> Tensor:
        """One sample per image, at the dial, not clamped."""
        if chain.tau == 0:
            return restored
        own = generators(seeds)
        noisy = jump(self.schedule, start, chain.tau, own, eta=chain.jump_eta)
        estimate = passes.estimate(restored, chain.detail)
        sample = chain.sampler(estimate, noisy, chain.sigmas, generators=own, eta=chain.eta, callback=callback)
        return chain.dialled(restored, sample)

    def chain(
        self,
        tau: float | None = None,
        steps: int | None = None,
        sampler: str | Sampler | None = None,
        eta: float | None = None,
        spacing: Spacing | str | None = None,
        sigma_min: float | None = None,
        detail: float | None = None,
    ) -> Chain:
        """Fill in the settings and check that the networks can follow; arguments and errors as of a call."""
        settings = self.settings
        chosen = settings.sampler if sampler is None else sampler
        steps_of = sampler_of(chosen)
        if eta is None and chosen == settings.sampler:
            eta = settings.eta
        tau = settings.tau if tau is None else tau
        detail = checked_detail(settings.detail if detail is None else detail)
        if tau == 0 or detail == 0:
            return Chain(0.0, torch.zeros(1, dtype=torch.float64), steps_of, eta, detail)
        if missing := [kind for kind in ("denoiser", "fusion") if kind not in self.networks]:
            raise DPIRError(
                f"Sampling from tau = {tau:g} needs a {' and a '.join(missing)}: give both (--denoiser, --fusion), or "
                "ask for the restorer's own estimate with Restoration.restorer_only or tau=0 (--tau 0)."
            )
        sigmas = self.schedule.sigma_grid(
            tau,
            settings.steps if steps is None else steps,
            settings.spacing if spacing is None else spacing,  # type: ignore[arg-type]  # checked by sigma_grid
            sigma_min=settings.sigma_min if sigma_min is None else sigma_min,
        )
        for kind in ("denoiser", "fusion"):
            check_sigma_range(kind, self.networks[kind].info.sigma_range, self.schedule, tau, sigmas)
        return Chain(tau, sigmas, steps_of, eta, *seen_and_share(detail, self.networks["fusion"].info.detail))

    def warn_of_unseen_chain(self, chain: Chain, *, other_start: bool = False, stacklevel: int) -> None:
        """Say, once, that the fusion runs in another chain than it was trained through, see `UnseenChainWarning`.

        Args:
            chain: what runs.
            other_start: whether it starts from another image than the restorer's estimate.
            stacklevel: as for `warnings.warn`, seen from the caller of this function.
        """
        if not self._chain_said:
            self._chain_said = warn_of_unseen_chain(
                chain, self._trained_for, other_start=other_start, stacklevel=stacklevel + 1
            )

    @contextmanager
    def evaluation_mode(self) -> Iterator[None]:
        """Evaluation mode for the time of a call, so that a trainer can use its live networks for validation."""
        modules = [module for network in self.networks.values() for module in network.modules()]
        training = [module for module in modules if module.training]  # parts of a live network may be frozen
        for module in training:
            module.training = False
        try:
            yield
        finally:
            for module in training:
                module.training = True


def _loaded(
    sources: Mapping[Kind, Any],
    infos: Mapping[Kind, NetworkInfo] = MappingProxyType({}),
    records: Mapping[Kind, NetworkRecord] = MappingProxyType({}),
) -> dict[Kind, LoadedNetwork]:
    """The networks that are there: sources that are not None, as `as_loaded` takes them."""
    return {
        kind: as_loaded(kind, source, info=infos.get(kind), record=records.get(kind))
        for kind, source in sources.items()
        if source is not None
    }


def _checked_start(start: Tensor, restored: Tensor) -> Tensor:
    if start.shape != restored.shape:
        raise DPIRError(
            f"The start has shape {tuple(start.shape)}, but the result has {tuple(restored.shape)}: the two must agree."
        )
    return start
