"""Whole systems. One file a system; today there is one."""

from dirl_lib.models.dirl import DIRL, PRESETS, DIRLConfig, create_model, list_models

__all__ = ["DIRL", "PRESETS", "DIRLConfig", "create_model", "list_models"]
