"""What a run leaves for people: the manifest, the curves, the model card."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alignment.lazy import lazily

if TYPE_CHECKING:
    from alignment.report.card import build_card
    from alignment.report.curves import plot_curves
    from alignment.report.manifest import build_manifest, write_manifest

_EXPORTS = {
    "build_card": "alignment.report.card",
    "build_manifest": "alignment.report.manifest",
    "plot_curves": "alignment.report.curves",
    "write_manifest": "alignment.report.manifest",
}

__all__ = ["build_card", "build_manifest", "plot_curves", "write_manifest"]

__getattr__ = lazily(__name__, _EXPORTS)
