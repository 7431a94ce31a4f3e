"""Experiment trackers: the recipe goes into the run's page, the run's page into the model card, and back.

Metrics are the business of transformers' own integrations (`report_to: wandb | trackio | tensorboard | none`); this
adds what they do not know.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from alignment.redaction import portable


class RecipeTracking(TrainerCallback):
    """Records the resolved recipe in the configuration of the tracker's run, and where that run is.

    Args:
        recipe: `recipe.resolved`; credentials and local paths are left out.
    """

    def __init__(self, recipe: Mapping[str, Any]) -> None:
        self._recipe = portable(recipe, root=Path.cwd())
        self.links: dict[str, str] = {}
        """Tracker -> the page of the run, or how to find it: for the manifest and the model card."""

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Runs after the integrations, which open their runs at the same event."""
        if not state.is_world_process_zero:
            return
        if (run := _wandb_run(args.report_to)) is not None:
            run.config.update({"recipe": self._recipe}, allow_val_change=True)
            self.links["wandb"] = run.url or f"offline run {run.id}; `wandb sync` uploads it"
        if (run := _trackio_run(args.report_to)) is not None:
            run.config["recipe"] = self._recipe
            self.links["trackio"] = f"{run.project}/{run.name}"


def link_model(report_to: Iterable[str], where: str) -> None:
    """Write where the model and its card are into the summary of the open wandb run, if there is one."""
    if (run := _wandb_run(report_to)) is not None:
        run.summary["model"] = where


def alert(report_to: Iterable[str] | None, title: str, text: str) -> None:
    """Tell the open wandb run, which can send a mail; other trackers have the alarm among their numbers."""
    if (run := _wandb_run(report_to)) is not None:
        run.alert(title=title, text=text)


def show_answers(report_to: Iterable[str] | None, step: int, prompts: Sequence[str], answers: Sequence[str]) -> None:
    """A table of sampled answers in the open wandb run."""
    if (run := _wandb_run(report_to)) is not None:
        import wandb

        table = wandb.Table(columns=["step", "prompt", "answer"])
        for prompt, answer in zip(prompts, answers, strict=True):
            table.add_data(step, prompt, answer)
        run.log({"samples/answers": table}, commit=False)


def _wandb_run(report_to: Iterable[str] | None) -> Any | None:
    if "wandb" not in (report_to or ()):
        return None
    import wandb

    return wandb.run


def _trackio_run(report_to: Iterable[str] | None) -> Any | None:
    if "trackio" not in (report_to or ()):
        return None
    from trackio import context_vars

    return context_vars.current_run.get()
