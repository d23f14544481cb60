"""The training loop, the same for every kind of network."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from dp_ir.checkpoints.loaded_network import channels_last
from dp_ir.errors import CheckpointError
from dp_ir.extras import require
from dp_ir.part_files import replacing
from dp_ir.runtime.precision import processor_name
from dp_ir.training.history import HARDWARE, History, damaged, read_checkpoint
from dp_ir.training.recipe import OptimRecipe, Recipe
from dp_ir.training.tables import RunTable, writing
from dp_ir.training.throughput import Throughput

logger = logging.getLogger(__name__)

Batches = Callable[[int, int, int], Iterable[Mapping[str, Tensor]]]
"""(first step, process, processes) -> batches of the remaining steps."""


_MIXED_PRECISION = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}
"""Precision in a recipe -> its name in accelerate."""

_Tensors = tuple[Tensor, ...] | list[Tensor]


@dataclass(frozen=True)
class Progress:
    """What a training tells whoever watches it, once per step."""

    step: int
    steps: int
    loss: float | None  # None between rows of the log
    share: float | None = None  # of the speed of a matrix product, see `throughput`; in rows of the log
    operations: int | None = None  # floating-point operations of a step
    figures: Mapping[str, float] = field(default_factory=dict)  # of the validation at this step, if there was one


class Trainer:
    """Trains one network: AdamW, warm-up and decay, gradient clipping, moving average, checkpoints, log.

    A run lives in its folder: `checkpoint.pt` (replaced atomically), `log.csv`, `validation.csv` and `recipe.yaml`.
    Running it again continues from the checkpoint, if that is of the same network and objective. Because samples and
    noise depend only on the seed and the sample's number, k steps, an interruption and the remaining steps give the
    same weights as all steps at once (bit for bit on a CPU).

    Args:
        model: network to train.
        recipe: the run's recipe.
        out: folder of the run.
        loss: (model, batch) -> scalar.
        validate: model -> figures.
        export: (model, record of the run so far) -> None, writes the weights that will be used.
        settings: what the run is trained with, see `history.settings_of`.
        watch: called with a `Progress` after each step, on the main process.

    Raises:
        CheckpointError: the folder cannot be written; its checkpoint is damaged, or of another run.
    """

    def __init__(
        self,
        model: nn.Module,
        recipe: Recipe,
        out: Path,
        *,
        loss: Callable[[nn.Module, Mapping[str, Tensor]], Tensor],
        validate: Callable[[nn.Module], dict[str, float]],
        export: Callable[[nn.Module, dict[str, Any]], None],
        settings: Mapping[str, Any],
        watch: Callable[[Progress], None] | None = None,
    ) -> None:
        require("accelerate", "Training", "train")
        from accelerate import Accelerator
        from accelerate.state import AcceleratorState

        self._recipe, self._out = recipe, out
        self._loss, self._validate, self._export, self._watch = loss, validate, export, watch
        AcceleratorState._reset_state()  # a process may train several networks, each in its own precision
        self.accelerator = Accelerator(
            cpu=without_accelerator(),
            mixed_precision=_MIXED_PRECISION[recipe.precision],
            log_with="tensorboard" if recipe.log.tensorboard else None,
            project_dir=str(out),
        )
        if recipe.log.tensorboard:
            self.accelerator.init_trackers("tensorboard")
        model = channels_last(model)
        optim = recipe.optim
        optimizer = torch.optim.AdamW(
            model.parameters(), lr=optim.learning_rate, betas=(0.9, 0.99), weight_decay=optim.weight_decay, fused=True
        )
        self._model, self._optimizer = self.accelerator.prepare(model, optimizer)
        self._ema = AveragedModel(self._unwrapped(), multi_avg_fn=_moving_average(optim.ema))
        self._step, self._seconds = 0, 0.0
        state = read_checkpoint(out)
        own = {**settings, HARDWARE: hardware(self.accelerator.device, self.accelerator.num_processes)}
        self._history = History(out, state, optim.steps, own)
        if state is not None:
            self._resume(state)
        if self.accelerator.is_main_process:
            self._log, self._validations = (RunTable(out / name) for name in ("log.csv", "validation.csv"))
            self._log.rewind(self._step)
            # Where nothing is left to train, the last validation is done again.
            self._validations.rewind(self._step - 1 if self._step == optim.steps else self._step)
            self._history.say_what_changes()

    @property
    def step(self) -> int:
        """Steps done so far, over all sessions of this run."""
        return self._step

    def run(self, batches: Batches) -> nn.Module:
        """Train to the end of the recipe and return the averaged network.

        Args:
            batches: gives the batches of the remaining steps; see `Batches`.
        """
        optim, log = self._recipe.optim, self._recipe.log
        accelerator = self.accelerator
        started, seconds_before = time.monotonic(), self._seconds
        running: list[Tensor] = []
        throughput = Throughput(accelerator.device, getattr(torch, self._recipe.precision))
        if self._step >= optim.steps:
            self._validated()  # nothing is left to train, but the weights may have been removed
        else:
            self._history.goes_on()
        source = batches(self._step, accelerator.process_index, accelerator.num_processes)
        for batch in source if self._step < optim.steps else ():
            # The learning rate is a function of the step alone: nothing to save, and a run may be given more steps.
            rate = optim.learning_rate * learning_rate_factor(self._step, optim)
            for group in self._optimizer.param_groups:
                group["lr"] = rate
            on_device = {name: value.to(accelerator.device, non_blocking=True) for name, value in batch.items()}
            with throughput.step():
                with accelerator.autocast():
                    loss = self._loss(self._model, on_device)
                accelerator.backward(loss)
                accelerator.clip_grad_norm_(self._model.parameters(), optim.clip)
                self._optimizer.step()
                self._optimizer.zero_grad()
                self._ema.update_parameters(self._unwrapped())
            self._step += 1
            running.append(loss.detach())

            last = self._step == optim.steps
            row: float | None = None
            share: float | None = None
            figures: dict[str, float] = {}
            if self._step % log.every == 0 or last:
                row = float(accelerator.reduce(torch.stack(running).mean(), "mean"))
                running.clear()
                if not math.isfinite(row):
                    raise self._diverged(f"The loss became {row}")
                share = throughput.share()
                if accelerator.is_main_process:
                    self._write_row(self._log, {"loss": row, "learning_rate": rate})
            self._seconds = seconds_before + time.monotonic() - started
            if self._step % log.checkpoint == 0 or last:
                self._save()
            if self._step % log.validate == 0 or last:
                figures = self._validated()
            if self._watch and accelerator.is_main_process:
                self._watch(Progress(self._step, optim.steps, row, share, throughput.operations, figures))
            throughput.pause()
        accelerator.wait_for_everyone()
        if self._recipe.log.tensorboard:
            accelerator.end_training()
        return self._ema.module

    def _unwrapped(self) -> nn.Module:
        return self.accelerator.unwrap_model(self._model, keep_fp32_wrapper=False)

    def _validated(self) -> dict[str, float]:
        if not self.accelerator.is_main_process:
            return {}
        averaged = self._ema.module.eval()
        with torch.no_grad(), self.accelerator.autocast():
            figures = self._validate(averaged)
        self._write_row(self._validations, figures)
        optim = self._recipe.optim
        record = {
            "steps": self._step,
            "planned_steps": optim.steps,
            "batch": optim.batch,
            "seconds": round(self._seconds),
            "hardware": self._history.hardware,
            "precision": self._recipe.precision,
            **({"changes": changes} if (changes := self._history.changes()) else {}),
            "validation": {name: round(value, 4) for name, value in figures.items()},
        }
        self._export(averaged, record)
        return figures

    def _write_row(self, table: RunTable, values: Mapping[str, float]) -> None:
        row = {"step": str(self._step), "seconds": f"{self._seconds:.1f}"}
        table.add({**row, **{name: f"{value:.6g}" for name, value in values.items()}})
        if self._recipe.log.tensorboard:
            self.accelerator.log(dict(values), step=self._step)

    def _diverged(self, what: str) -> CheckpointError:
        there = (self._out / "checkpoint.pt").exists()
        last = f"the last checkpoint in {self._out} is from before" if there else "there is no checkpoint from before"
        return CheckpointError(
            f"{what} before step {self._step}; {last}: lower optim.learning_rate, check the weights of score, or use "
            "precision=float32, and run again."
        )

    def _save(self) -> None:
        if not self.accelerator.is_main_process:
            return
        if not all(bool(torch.isfinite(value).all()) for value in self._unwrapped().parameters()):
            raise self._diverged("Weights became infinite or no numbers")
        state = {
            "step": self._step,
            "seconds": self._seconds,
            "config": self._unwrapped().config,
            "history": self._history.stretches,
            "model": self._unwrapped().state_dict(),
            "ema": self._ema.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "scaler": self.accelerator.scaler.state_dict() if self.accelerator.scaler is not None else None,
        }
        path = self._out / "checkpoint.pt"
        with writing(path), replacing(path) as beside, beside.open("wb") as file:
            torch.save(state, file)

    def _resume(self, state: Mapping[str, Any]) -> None:
        try:
            self._unwrapped().load_state_dict(state["model"])
            self._ema.load_state_dict(state["ema"])
            self._optimizer.load_state_dict(state["optimizer"])
            if self.accelerator.scaler is not None and state["scaler"] is not None:
                self.accelerator.scaler.load_state_dict(state["scaler"])
            self._step, self._seconds = state["step"], float(state["seconds"])
        except Exception as error:
            raise damaged(self._out / "checkpoint.pt", error) from error
        logger.info("continuing %s at step %d of %d", self._out, self._step, self._recipe.optim.steps)


def _moving_average(decay: float) -> Callable[[_Tensors, _Tensors, Tensor | int], None]:
    """The exponential moving average, whose memory grows with the run, so that its start is soon forgotten."""

    @torch.no_grad()
    def average(averaged: _Tensors, current: _Tensors, updates: Tensor | int) -> None:
        own = min(decay, (1 + float(updates)) / (10 + float(updates)))
        torch._foreach_lerp_(averaged, current, 1 - own)

    return average


def learning_rate_factor(step: int, optim: OptimRecipe) -> float:
    """Linear warm-up over `warm_up` steps, constant, then a half cosine down to 0 over the last `decay`; in [0, 1].

    With a short decay (Hu et al., arXiv 2404.06395) most of a run does not depend on where it ends: it can be given
    more steps, or be ended early by giving it just those of the decay.
    """
    if step < optim.warm_up:
        return (step + 1) / optim.warm_up
    left = (optim.steps - step) / max(1.0, optim.decay * (optim.steps - optim.warm_up))
    return 0.5 * (1 - math.cos(math.pi * min(1.0, max(0.0, left))))


def without_accelerator() -> bool:
    """Whether training runs on the CPU: accelerate joins processes on CPUs only if it is told so from the start."""
    asked = os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes")
    return asked or not (torch.cuda.is_available() or torch.backends.mps.is_available())


def hardware(device: torch.device, processes: int) -> str:
    """One line that says what a run was trained on."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    else:
        name = f"{processor_name()}, {torch.get_num_threads()} thread(s)"
    return f"{processes} x {name}, torch {torch.__version__}"
