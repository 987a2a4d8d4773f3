"""Sheets of every kind, every row accounted for, and one sentence for what cannot be read."""

from __future__ import annotations

import datetime
import json
import time
import zipfile
from pathlib import Path

import openpyxl
import pytest

from configs import chinese
from configs.errors import ConfigError
from configs.sheets import parse_columns, read_questions
from tests import tiny


def workbook(path: Path, *lines: list[object]) -> Path:
    book = openpyxl.Workbook()
    for line in lines:
        book.active.append(line)
    book.save(path)
    return path


HEADER = ["ID", "文章", "問題", "選項1", "選項2", "正確答案"]


def rows_of(path, *lines, need_answers=True, **named):
    return read_questions(workbook(path, HEADER, *lines), need_answers=need_answers, **named).rows


def test_numbers_keep_their_text(tmp_path):
    [row] = rows_of(tmp_path / "s.xlsx", [7, "文", "問", 26, -0.314, 2])
    assert row.question.choices == ("26", "-0.314")
    assert row.id == "7"


def test_percentages_read_as_shown(tmp_path):
    book = openpyxl.Workbook()
    book.active.append(HEADER)
    book.active.append([1, "文", "問", 0.15, 0.1259, 1])
    book.active["D2"].number_format = "0%"
    book.active["E2"].number_format = "0.00%"
    book.save(tmp_path / "s.xlsx")
    assert read_questions(tmp_path / "s.xlsx", need_answers=True).rows[0].question.choices == ("15%", "12.59%")


def test_numbers_and_dates_read_as_the_sheet_shows_them(tmp_path):
    book = openpyxl.Workbook()
    book.active.append(["編號", "文章", "問題", "選項1", "選項2", "選項3", "選項4", "答案"])
    day = datetime.date(2020, 1, 5)
    book.active.append([7, "文", "問", 3.5, 1234, day, 0.1 + 0.2, 2])
    for cell, code in {"A2": "000", "D2": "0.00", "E2": "#,##0", "F2": 'm"月"d"日"', "H2": "0"}.items():
        book.active[cell].number_format = code
    book.save(tmp_path / "s.xlsx")
    [row] = read_questions(tmp_path / "s.xlsx", need_answers=True).rows
    assert (row.id, row.question.choices) == ("007", ("3.50", "1,234", "1月5日", "0.3"))
    assert row.question.answer == 2
    assert not row.label_normalised


def test_a_passage_merged_over_its_questions_belongs_to_each(tmp_path):
    path = workbook(tmp_path / "s.xlsx", HEADER, [1, "文", "問", "a", "b", 1], [2, None, "問二", "a", "b", 2])
    book = openpyxl.load_workbook(path)
    book.active.merge_cells("B2:B3")
    book.save(path)
    assert [row.question.passage for row in read_questions(path, need_answers=True).rows] == ["文", "文"]


def test_formulas_without_a_value_are_error_rows(tmp_path):
    path = workbook(tmp_path / "s.xlsx", HEADER, [1, "=B9", "問", "a", "b", 1], [2, "文", "問", "a", "b", 2])
    rows = read_questions(path, need_answers=True).rows
    assert [row.error for row in rows] == ["the passage holds a formula that was never calculated", ""]


def test_a_formulas_error_is_no_text(tmp_path):
    path = workbook(tmp_path / "s.xlsx", HEADER, [1, "文", "問", "a", "b", 1])
    edit(
        path,
        "xl/worksheets/sheet1.xml",
        b'<c r="D2" t="inlineStr"><is><t>a</t></is></c>',
        b'<c r="D2" t="e"><v>#N/A</v></c>',
    )
    [row] = read_questions(path, need_answers=True).rows
    assert row.error == "option 1 holds a formula's error"


def edit(path: Path, part: str, old: bytes, new: bytes) -> None:
    """Replace bytes inside a workbook."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    assert old in parts[part], parts[part]
    parts[part] = parts[part].replace(old, new)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data)


def test_escaped_characters_of_a_workbook_are_themselves(tmp_path):
    path = workbook(tmp_path / "s.xlsx", HEADER, [1, "甲_x0000_乙_x000D_丙_x005F_x0041_", "問", "a", "b", 1])
    [row] = read_questions(path, need_answers=True).rows
    assert row.question.passage == "甲\x00乙\r丙_x0041_"
    assert row.warnings == ("control characters removed from the passage",)


def test_the_first_visible_sheet_is_read_and_named(tmp_path):
    book = openpyxl.Workbook()
    book.active.sheet_state = "hidden"
    for title in ("考題", "備份"):
        page = book.create_sheet(title)
        page.append(HEADER)
        page.append([1, title, "問", "a", "b", 1])
    book.save(tmp_path / "s.xlsx")
    sheet = read_questions(tmp_path / "s.xlsx", need_answers=True)
    assert sheet.rows[0].question.passage == "考題"
    assert sheet.notes == ("the first of 2 sheets is read: 考題",)


def test_a_stray_cell_at_the_end_of_the_world_is_refused_not_allocated(tmp_path):
    path = workbook(tmp_path / "s.xlsx", HEADER, [1, "文", "問", "a", "b", 1])
    edit(
        path,
        "xl/worksheets/sheet1.xml",
        b"</sheetData>",
        b'<row r="1048576"><c r="XFD1048576"><v>1</v></c></row></sheetData>',
    )
    with pytest.raises(ConfigError, match="1,048,576 rows"):
        read_questions(path, need_answers=True)


def test_a_workbook_that_declares_entities_is_refused(tmp_path):
    path = workbook(tmp_path / "s.xlsx", HEADER, [1, "文", "問", "a", "b", 1])
    edit(path, "xl/worksheets/sheet1.xml", b"<worksheet ", b'<!DOCTYPE x [<!ENTITY a "b">]><worksheet ')
    with pytest.raises(ConfigError, match="not an xlsx workbook"):
        read_questions(path, need_answers=True)


TEXT = "編號,文章,問題,選項1,選項2,答案\n1,小明今天說到秋天，昨天說到春天。,今天說到什麼？,秋天,春天,1\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp950", "gb18030"])
@pytest.mark.parametrize("kind", ["traditional", "simplified"])
def test_the_encoding_is_found_and_said(tmp_path, encoding, kind):
    text = TEXT if kind == "traditional" else chinese.convert([TEXT], "t2s")[0]
    if kind == "simplified" and encoding == "cp950":
        pytest.skip("Big5 has no simplified characters")
    (tmp_path / "s.csv").write_bytes(text.encode(encoding))
    sheet = read_questions(tmp_path / "s.csv", need_answers=True)
    assert sheet.rows[0].question.passage == text.splitlines()[1].split(",")[1]
    said = encoding in ("cp950", "gb18030")
    assert bool(sheet.notes) == said
    assert not said or f"s.csv is read as {encoding}" in sheet.notes[0]


def test_the_encoding_can_be_forced(tmp_path):
    (tmp_path / "s.csv").write_bytes(TEXT.encode("gb18030"))
    forced = read_questions(tmp_path / "s.csv", need_answers=True, encoding="GBK")
    assert forced.rows[0].question.choices == ("秋天", "春天")
    assert forced.notes == ()
    for encoding, word in {
        "big5hkscs": "is not text in big5hkscs",
        "klingon": "no encoding 'klingon'",
        "hex": "no encoding",
    }.items():
        (tmp_path / "t.csv").write_bytes(TEXT.encode("gb18030") + b"\xff")
        with pytest.raises(ConfigError, match=word):
            read_questions(tmp_path / "t.csv", need_answers=True, encoding=encoding)


def test_a_named_separator_is_taken(tmp_path):
    (tmp_path / "s.csv").write_text("sep=|\n文章|問題|選項1|選項2|答案\n文,;|問|a,,,,,,|b|1\n", encoding="utf-8")
    [row] = read_questions(tmp_path / "s.csv", need_answers=True).rows
    assert (row.question.passage, row.question.choices) == ("文,;", ("a,,,,,,", "b"))


def test_json_of_careless_libraries(tmp_path):
    record = '{"id": "1", "passage": "文", "question": "問", "choices": ["a", "b"], "answer": NaN}'
    (tmp_path / "s.json").write_text(f"[{record}]")
    assert read_questions(tmp_path / "s.json", need_answers=False).rows[0].question.answer is None
    (tmp_path / "s.json").write_text("[" + record.replace('"id": "1"', '"passage": "別"') + "]")
    with pytest.raises(ConfigError, match="'passage' stands twice"):
        read_questions(tmp_path / "s.json", need_answers=False)
    (tmp_path / "s.json").write_text(f"[{record}]".replace("NaN", "Infinity"))
    with pytest.raises(ConfigError, match="Infinity is no number"):
        read_questions(tmp_path / "s.json", need_answers=False)


def test_words_that_libraries_take_for_nothing_stay_words(tmp_path):
    (tmp_path / "s.csv").write_text("ID,文章,問題,選項1,選項2,正確答案\n007,NA,null,無,nan,2\n", encoding="utf-8")
    [row] = read_questions(tmp_path / "s.csv", need_answers=True).rows
    assert (row.id, row.question.passage, row.question.question, row.question.choices) == (
        "007",
        "NA",
        "null",
        ("無", "nan"),
    )
    assert not row.label_normalised


def test_passage_keeps_every_character_but_surrounding_blanks(tmp_path):
    passage = "第一行\r\n第二行\t</s>[INST]<|im_end|>😀 尾"
    (tmp_path / "s.json").write_text(
        json.dumps([{"passage": f"  {passage}\n", "question": "問", "choices": ["a", "b"], "answer": 1}])
    )
    [row] = read_questions(tmp_path / "s.json", need_answers=True).rows
    assert row.question.passage == passage


def test_control_characters_are_kept_in_the_question_and_warned_of(tmp_path):
    (tmp_path / "s.json").write_text(
        json.dumps([{"passage": "甲\x00乙", "question": "問", "choices": ["a", "b"], "answer": 1}])
    )
    [row] = read_questions(tmp_path / "s.json", need_answers=True).rows
    assert row.question.passage == "甲\x00乙"
    assert row.warnings == ("control characters removed from the passage",)


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ([1, None, "問", "a", "b", 1], "the passage is missing"),
        ([1, "文", " ", "a", "b", 1], "the question is missing"),
        ([1, "文", "問", "a", None, 1], "fewer than two options"),
        ([1, "文", "問", "a", "b", None], "the label is missing"),
        ([1, "文", "問", "a", "b", 3], "the label '3' is not one of the 2 options"),
        ([1, "文", "問", "a", "b", "無"], "the label '無' names no option"),
    ],
)
def test_rows_that_are_no_questions(tmp_path, line, error):
    [row] = rows_of(tmp_path / "s.xlsx", line)
    assert row.question is None
    assert row.error == error


def test_unreadable_label_is_only_a_warning_where_none_is_needed(tmp_path):
    first, second = rows_of(
        tmp_path / "s.xlsx", [1, "文", "問", "a", "b", "?"], [2, "文", "問", "a", "b", None], need_answers=False
    )
    assert first.question.answer is None
    assert first.warnings == ("the label '?' names no option",)
    assert second.warnings == ()


def test_blank_and_repeated_options_are_warnings(tmp_path):
    header = ["文章", "問題", "選項1", "選項2", "選項3", "選項4", "答案"]
    book = workbook(
        tmp_path / "s.xlsx", header, ["文", "問", "a", "a", None, "b", 4], ["文", "問", "a", "c", None, "b", 3]
    )
    sheet = read_questions(book, need_answers=True)
    assert sheet.rows[0].warnings == ("option 3 is blank", "options 1 and 2 are the same")
    assert sheet.rows[1].error == "the label '3' names a blank option"


def test_same_questions_from_every_kind_of_file(tmp_path):
    questions = tiny.questions(5)
    tiny.sheet(tmp_path / "s.xlsx", questions)
    objects = [
        {"id": str(n), "passage": q.passage, "question": q.question, "choices": list(q.choices), "answer": q.answer}
        for n, q in enumerate(questions, 1)
    ]
    (tmp_path / "s.json").write_text(json.dumps(objects))
    (tmp_path / "s.jsonl").write_text(
        "".join(json.dumps(o, ensure_ascii=False) + "\n" for o in objects), encoding="utf-8"
    )
    dataset = [{"id": o["id"], "messages": [], "exam": {k: v for k, v in o.items() if k != "id"}} for o in objects]
    (tmp_path / "validation.jsonl").write_text("".join(json.dumps(o) + "\n" for o in dataset))
    lines = ["編號\t文章\t題目\tA\tB\tC\tD\t答案".replace("A\tB\tC\tD", "選項A\t選項B\t選項C\t選項D")]
    lines += [
        "\t".join([str(n), q.passage, q.question, *q.choices, "ABCD"[q.answer - 1]]) for n, q in enumerate(questions, 1)
    ]
    (tmp_path / "s.tsv").write_bytes("\r\n".join(lines).encode("cp950"))
    for name in ("s.xlsx", "s.json", "s.jsonl", "validation.jsonl", "s.tsv"):
        rows = read_questions(tmp_path / name, need_answers=True).rows
        assert [row.question for row in rows] == questions, name
        assert [row.id for row in rows] == ["1", "2", "3", "4", "5"], name


def test_half_a_surrogate_pair_is_an_error_row(tmp_path):
    good = {"id": "1", "passage": "文", "question": "問", "choices": ["a", "b"], "answer": 1}
    broken = [{**good, "passage": "\ud83d"}, {**good, "id": "\ud83d"}, {**good, "choices": ["a", "\ud83d"]}]
    (tmp_path / "s.json").write_text(json.dumps([good, *broken]))
    rows = read_questions(tmp_path / "s.json", need_answers=True).rows
    assert [row.error for row in rows] == [
        "",
        "the passage holds half of a surrogate pair",
        "the ID holds half of a surrogate pair",
        "option 2 holds half of a surrogate pair",
    ]
    "".join(row.id for row in rows).encode()


def test_record_without_its_question_is_an_error_row(tmp_path):
    good = {"passage": "文", "question": "問", "choices": ["a", "b"], "answer": 1}
    (tmp_path / "s.jsonl").write_text(json.dumps({"id": "1", "exam": good}) + "\n" + json.dumps({"id": "2"}) + "\n")
    assert [row.error for row in read_questions(tmp_path / "s.jsonl", need_answers=True).rows] == [
        "",
        "the passage is missing",
    ]


def test_label_that_a_library_wrote_as_a_decimal(tmp_path):
    (tmp_path / "s.csv").write_text("文章,問題,選項1,選項2,答案\n文,問,a,b,2.0\n", encoding="utf-8")
    assert read_questions(tmp_path / "s.csv", need_answers=True).rows[0].question.answer == 2


def test_columns_can_be_named(tmp_path):
    path = workbook(tmp_path / "s.xlsx", ["甲", "乙", "丙", "丁", "備註"], ["文", "問", "a", "b", "x"])
    columns = parse_columns("passage=甲, question=乙, choice1=丙, choice2=丁, ignore=備註")
    [row] = read_questions(path, columns=columns, need_answers=False).rows
    assert (row.question.passage, row.question.question, row.question.choices) == ("文", "問", ("a", "b"))


@pytest.mark.parametrize(
    ("header", "word"),
    [
        (["ID", "問題", "選項1", "選項2"], "no column for passage"),
        (["ID", "文章", "選項1", "選項2"], "no column for question"),
        (["ID", "文章", "問題"], "choice1"),
        (["ID", "文章", "問題", "選項1", "選項2", "備註"], "unknown column '備註'"),
        (["ID", "文章", "文章", "問題", "選項1", "選項2"], "twice"),
        (["ID", "文章", "短文", "問題", "選項1", "選項2"], "second column"),
        (["ID", "文章", "問題", "選項1", "選項2", "選項5"], "1, 2, 5"),
        (["ID", "文章", "問題", "選項0", "選項1"], "0, 1"),
    ],
)
def test_columns_that_cannot_be_told(tmp_path, header, word):
    path = workbook(tmp_path / "s.xlsx", header, list(range(1, len(header) + 1)))
    with pytest.raises(ConfigError, match=word) as error:
        read_questions(path, need_answers=False)
    assert "\n" not in str(error.value)


def test_answers_are_asked_for_where_they_are_needed(tmp_path):
    path = tiny.sheet(tmp_path / "s.xlsx", tiny.questions(2), answers=False)
    with pytest.raises(ConfigError, match="answers"):
        read_questions(path, need_answers=True)


@pytest.mark.parametrize(
    ("name", "content", "word"),
    [
        ("missing.xlsx", None, "does not exist"),
        ("s.xlsx", b"not a workbook", "not an xlsx workbook"),
        ("s.xlsx", b"PK\x05\x06" + b"\0" * 18, "not an xlsx workbook"),
        ("s.csv", b"", "is empty"),
        ("s.csv", "文章,問題,選項1,選項2\n".encode(), "header and no rows"),
        ("s.csv", b"\xff\xff\xff\xff", "UTF-8"),
        ("s.json", b"{", "not valid JSON"),
        ("s.json", b"{}", "list of records"),
        ("s.json", b"[1]", "not an object"),
        ("s.json", b"[" * 100_000, "not valid JSON"),
        ("s.json", b'[{"a": ' + b"9" * 5_000 + b"}]", "not valid JSON"),
        ("s.docx", b"x", "none of xlsx"),
    ],
)
def test_files_that_are_no_sheets(tmp_path, name, content, word):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=word) as error:
        read_questions(path, need_answers=False)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["passage", "passage=", "nothing=文章"])
def test_column_lists_that_are_wrong(text):
    with pytest.raises(ConfigError, match="ROLE=COLUMN"):
        parse_columns(text)


@pytest.mark.shared
def test_every_row_of_the_real_sheets(shared_data):
    start = time.process_time()
    sheet = read_questions(shared_data / "formosa" / "AI.xlsx", need_answers=True)
    assert time.process_time() - start <= 3
    assert sheet.rows[3071].question.choices == ("15%", "10%", "12.59%", "12%")
    assert len(sheet.rows) == 13_550
    assert sum(row.label_normalised for row in sheet.rows) == 50
    assert [row.id for row in sheet.rows if len(row.question.answerable) < 4] == ["2463"]
    assert not [row for row in sheet.rows if row.error]
    assert not [row for row in sheet.rows if "nan" in row.question.choices or "None" in row.question.choices]
    exam = read_questions(shared_data / "formosa" / "AI1000.xlsx", need_answers=False)
    assert len(exam.rows) == 1_000
    assert [row.id for row in exam.rows if row.warnings] == ["19675519"]
