"""Settings and where each one came from: flag, environment, project file, user file, default."""

from .load import Config, Setting, load, unknown_variables
from .values import KNOWN, home, level_number

__all__ = ["KNOWN", "Config", "Setting", "home", "level_number", "load", "unknown_variables"]
