"""Whole systems, one file a system, and what lets them answer at any size."""

from dirl_lib.models.dirl import DIRL, PRESETS, DIRLConfig, create_model, list_models
from dirl_lib.models.working_size import AtWorkingSize

__all__ = ["DIRL", "PRESETS", "AtWorkingSize", "DIRLConfig", "create_model", "list_models"]
