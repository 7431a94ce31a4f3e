"""What a run leaves for people: the manifest, the curves, the model card."""

from __future__ import annotations

from alignment.report.card import build_card
from alignment.report.curves import plot_curves
from alignment.report.manifest import build_manifest, write_manifest

__all__ = ["build_card", "build_manifest", "plot_curves", "write_manifest"]
