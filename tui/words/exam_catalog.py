"""What there is to say in the exam room."""

from __future__ import annotations

from dataclasses import dataclass

from tui.words.rows import Row


@dataclass(frozen=True, slots=True, kw_only=True)
class ExamWords:
    """The sentences of one language; `{names}` are filled in by who says them."""

    title: str
    keys_hint: tuple[Row, ...]
    help_keys: tuple[Row, ...]
    palette: dict[str, Row]

    # The sheet
    no_sheet: str
    sheet_line: str
    columns_line: str
    roles: dict[str, str]
    rows_line: str
    bad_line: str
    warned_line: str
    held_line: str
    changed: str
    refused: str

    # The run
    opening: str
    ready: str
    loading: str
    measuring: str
    answering: str
    pausing: str
    paused: str
    stopping: str
    finished: str
    stopped: str
    busy: str
    nothing_runs: str
    counts: str
    speed: str
    slow_speed: str
    left: str
    accuracy: str
    no_key: str
    done_line: str
    already_made: str
    low_mass: str

    # The table
    filters: tuple[str, str, str, str, str]
    heads: tuple[str, str, str, str, str, str, str]
    """Row, ID, question, answer, key, probability, remark."""
    nothing_here: str
    found: str
    doubtful_first: str
    find_title: str

    # A question
    position: str
    passage: str
    answer: str
    key: str
    right: str
    wrong: str
    unsure: str
    waiting: str
    blank: str
    mass: str
    flips: str
    remarks: str
    cells: str
    question_keys: str

    # Cards
    choose_title: str
    choose_placeholder: str
    choose_keys: str
    choose_none: str
    no_such_sheet: str
    columns_title: str
    export_title: str
    export_keys: str
    export_kaggle: str
    export_full: str
    export_shown: str
    export_path_title: str
    exported: str
    replace_question: str
    replace_keys: str
    restart_question: str
    restart_keys: str
