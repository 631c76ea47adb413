"""Logs as other tools write them, each turned into the rows that `Assembly` takes.

    exported rows ─► (detected) Format.add … ─► Format.rows ─► Row of our names ─► Assembly

A format holds what it has to join (spans with annotations, messages with ratings) in memory until the last row is in.
"""

from vecmigrate.querylog.formats.detection import FORMATS, Format, detect
from vecmigrate.querylog.formats.retrieval import Settings, settings_of

__all__ = ["FORMATS", "Format", "Settings", "detect", "settings_of"]
