"""The two colour themes of the house: ink on a dark and on a light ground."""

from __future__ import annotations

from textual.theme import Theme

NIGHT = Theme(
    name="lora2edge-night",
    dark=True,
    background="#12161c",
    surface="#171c24",
    panel="#1e2530",
    foreground="#d7dde6",
    primary="#7aa2d6",
    secondary="#86c1a5",
    accent="#e0b978",
    success="#86c1a5",
    warning="#e0b978",
    error="#dc7f7f",
    variables={
        "input-cursor-background": "#7aa2d6",
        "input-selection-background": "#7aa2d6 35%",
        "scrollbar": "#2a3442",
        "scrollbar-background": "#12161c",
        "scrollbar-hover": "#3a4859",
        "scrollbar-active": "#7aa2d6",
        "scrollbar-background-hover": "#12161c",
        "scrollbar-background-active": "#12161c",
    },
)

PAPER = Theme(
    name="lora2edge-paper",
    dark=False,
    background="#fbfaf7",
    surface="#f3f1eb",
    panel="#e9e6dd",
    foreground="#2a2f36",
    primary="#2f5f9e",
    secondary="#2c7a58",
    accent="#97600f",
    success="#2c7a58",
    warning="#97600f",
    error="#a83a3a",
    variables={
        "scrollbar": "#d5d0c3",
        "scrollbar-background": "#fbfaf7",
        "scrollbar-hover": "#bdb7a7",
        "scrollbar-active": "#2f5f9e",
        "scrollbar-background-hover": "#fbfaf7",
        "scrollbar-background-active": "#fbfaf7",
    },
)

THEMES = (NIGHT, PAPER)
