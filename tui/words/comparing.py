"""What the comparison of two models says, in every language. One that lacks a sentence does not type-check."""

from __future__ import annotations

from dataclasses import dataclass

from tui.words import language
from tui.words.catalog import Row


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareWords:
    """The sentences of one language; `{names}` are filled in by who says them."""

    welcome: str
    keys_hint: tuple[Row, ...]
    sheet_keys_hint: tuple[Row, ...]
    help_keys: tuple[Row, ...]
    sheet_help_keys: tuple[Row, ...]

    # What goes on
    checking: str
    loading: str
    reading: str
    writing: str
    answering: str
    waiting: str
    done: str
    paused: str
    paused_why: str
    busy: str

    # Texts
    seed: str
    cut: str
    first_word: str
    same: str
    apart: str
    apart_at_once: str
    nothing_to_compare: str
    marks_on: str
    marks_off: str
    nothing_to_export: str
    exported: str
    export_failed: str

    # Sheets
    questions: str
    left: str
    accuracy: str
    agreement: str
    no_agreement: str
    mcnemar: str
    filters: tuple[str, ...]
    """All, differing, only A right, only B right, both wrong, unanswered."""
    columns: tuple[str, ...]
    """Number, ID, question, label."""
    unanswered: str
    row_title: str
    right: str
    row_keys: str
    distance: str


ENGLISH = CompareWords(
    welcome="Ask once: both models answer, one after the other, with the same seed.",
    keys_hint=(
        ("Enter", "ask"),
        ("Esc", "stop"),
        ("F2", "marks"),
        ("F4", "export"),
        ("F1", "help"),
        ("Ctrl+Q", "quit"),
    ),
    sheet_keys_hint=(
        ("Enter", "open"),
        ("← →", "filter"),
        ("Esc", "pause"),
        ("F4", "export"),
        ("F1", "help"),
        ("Ctrl+Q", "quit"),
    ),
    help_keys=(
        ("Enter", "ask both models"),
        ("Ctrl+J", "new line"),
        ("Esc", "stop the reply, the loading, and what would follow"),
        ("F2", "mark what only one of them says, or show Markdown"),
        ("F4", "write everything that was asked into a Markdown file"),
        ("Up  Down", "earlier questions, in the first and last line"),
        ("PgUp  PgDn", "scroll"),
        ("Ctrl+Home  Ctrl+End", "the beginning, the end"),
        ("Ctrl+C", "copy what the mouse selected"),
        ("Ctrl+P", "all commands, themes"),
        ("F1", "this help"),
        ("Ctrl+Q", "quit: both models leave the memory"),
    ),
    sheet_help_keys=(
        ("Up  Down  PgUp  PgDn", "choose a row"),
        ("Enter", "open it: passage, options, probabilities of both"),
        ("Left  Right", "another filter; in an open row the one before or after"),
        ("Esc", "pause the run; close an open row"),
        ("R", "go on with a paused run"),
        ("[68.2–88.2]", "the 95 % interval of an accuracy"),
        ("F4", "write all rows into a CSV file"),
        ("Ctrl+P", "all commands, themes"),
        ("F1", "this help"),
        ("Ctrl+Q", "quit: the models leave the memory"),
    ),
    checking="checking the files",
    loading="loading {side}",
    reading="{side} reads the prompt",
    writing="{side} writes",
    answering="{side} answers",
    waiting="waiting",
    done="done",
    paused="paused: R goes on",
    paused_why="stopped: {reason}",
    busy="The models are still answering: Esc stops them.",
    seed="seed {seed}",
    cut="cut (--max-tokens)",
    first_word="first after {seconds:.2f} s",
    same="the same reply",
    apart="{share:.0%} in common; they part after {characters} characters",
    apart_at_once="{share:.0%} in common; they part at the first character",
    nothing_to_compare="one of them said nothing: there is nothing to compare",
    marks_on="What only one of them says is marked: F2 shows Markdown.",
    marks_off="Markdown is shown: F2 marks what only one of them says.",
    nothing_to_export="There is nothing to export yet.",
    exported="Exported to {file}",
    export_failed="{file} cannot be written: {reason}",
    questions="{done:,} of {total:,} questions   {speed:.1f}/s",
    left="{minutes}:{seconds:02d} left",
    accuracy="accuracy {share:.1%} [{low:.1f}–{high:.1f}] {correct:,}/{total:,}",
    agreement="the same answer to {share:.1%} ({same:,} of {both:,})   probabilities {distance:.1%} apart",
    no_agreement="no row has been answered by both yet",
    mcnemar="A − B {difference:+.1f} % (95 % interval {low:+.1f} to {high:+.1f})   McNemar p = {p:.3g}",
    filters=("all", "differ", "only A right", "only B right", "both wrong", "no answer"),
    columns=("#", "ID", "question", "label"),
    unanswered="no answer: {reason}",
    row_title="row {number} (ID {id})",
    right="right",
    row_keys="← → other rows   Esc closes",
    distance="probabilities {distance:.1%} apart",
)

TRADITIONAL = CompareWords(
    welcome="問一次，兩個模型用同一個隨機種子先後回答。",
    keys_hint=(("Enter", "提問"), ("Esc", "停止"), ("F2", "標記"), ("F4", "匯出"), ("F1", "說明"), ("Ctrl+Q", "離開")),
    sheet_keys_hint=(
        ("Enter", "開啟"),
        ("← →", "篩選"),
        ("Esc", "暫停"),
        ("F4", "匯出"),
        ("F1", "說明"),
        ("Ctrl+Q", "離開"),
    ),
    help_keys=(
        ("Enter", "問兩個模型"),
        ("Ctrl+J", "換行"),
        ("Esc", "停止回答、載入與接下來的"),
        ("F2", "標出只有一方說的，或顯示 Markdown"),
        ("F4", "把問過的全部寫成 Markdown 檔"),
        ("Up  Down", "在第一行、最後一行時：先前的問題"),
        ("PgUp  PgDn", "捲動"),
        ("Ctrl+Home  Ctrl+End", "開頭、結尾"),
        ("Ctrl+C", "複製滑鼠選取的文字"),
        ("Ctrl+P", "所有指令、佈景主題"),
        ("F1", "這份說明"),
        ("Ctrl+Q", "離開：兩個模型都離開記憶體"),
    ),
    sheet_help_keys=(
        ("Up  Down  PgUp  PgDn", "選擇一題"),
        ("Enter", "開啟：文章、選項、兩方的機率"),
        ("Left  Right", "換篩選條件；開啟一題時：前一題、後一題"),
        ("Esc", "暫停；關閉開啟的題目"),
        ("R", "繼續暫停的作答"),
        ("[68.2–88.2]", "正確率的 95 % 區間"),
        ("F4", "把所有題目寫成 CSV 檔"),
        ("Ctrl+P", "所有指令、佈景主題"),
        ("F1", "這份說明"),
        ("Ctrl+Q", "離開：模型離開記憶體"),
    ),
    checking="檢查檔案",
    loading="載入 {side}",
    reading="{side} 讀取提示中",
    writing="{side} 回答中",
    answering="{side} 作答中",
    waiting="等候",
    done="完成",
    paused="已暫停：按 R 繼續",
    paused_why="已停止：{reason}",
    busy="模型還在回答：按 Esc 停止。",
    seed="種子 {seed}",
    cut="截斷（--max-tokens）",
    first_word="首字 {seconds:.2f} 秒",
    same="回答相同",
    apart="{share:.0%} 相同；第 {characters} 字之後開始不同",
    apart_at_once="{share:.0%} 相同；第一個字就不同",
    nothing_to_compare="其中一方沒有說話：無從比較",
    marks_on="已標出只有一方說的：F2 顯示 Markdown。",
    marks_off="顯示 Markdown：F2 標出只有一方說的。",
    nothing_to_export="還沒有可以匯出的內容。",
    exported="已匯出到 {file}",
    export_failed="無法寫入 {file}：{reason}",
    questions="{done:,} / {total:,} 題   每秒 {speed:.1f} 題",
    left="剩 {minutes}:{seconds:02d}",
    accuracy="正確率 {share:.1%} [{low:.1f}–{high:.1f}] {correct:,}/{total:,}",
    agreement="答案相同 {share:.1%}（{same:,} / {both:,}）   機率平均相差 {distance:.1%}",
    no_agreement="還沒有兩方都答過的題目",
    mcnemar="A − B {difference:+.1f} %（95 % 區間 {low:+.1f} 到 {high:+.1f}）   McNemar p = {p:.3g}",
    filters=("全部", "答案不同", "只有 A 對", "只有 B 對", "兩方都錯", "沒有答案"),
    columns=("#", "題號", "問題", "答案"),
    unanswered="沒有答案：{reason}",
    row_title="第 {number} 題（題號 {id}）",
    right="正確",
    row_keys="← → 其他題目   Esc 關閉",
    distance="機率相差 {distance:.1%}",
)

SIMPLIFIED = CompareWords(
    welcome="问一次，两个模型用同一个随机种子先后回答。",
    keys_hint=(("Enter", "提问"), ("Esc", "停止"), ("F2", "标记"), ("F4", "导出"), ("F1", "帮助"), ("Ctrl+Q", "退出")),
    sheet_keys_hint=(
        ("Enter", "打开"),
        ("← →", "筛选"),
        ("Esc", "暂停"),
        ("F4", "导出"),
        ("F1", "帮助"),
        ("Ctrl+Q", "退出"),
    ),
    help_keys=(
        ("Enter", "问两个模型"),
        ("Ctrl+J", "换行"),
        ("Esc", "停止回答、加载与接下来的"),
        ("F2", "标出只有一方说的，或显示 Markdown"),
        ("F4", "把问过的全部写成 Markdown 文件"),
        ("Up  Down", "在第一行、最后一行时：之前的问题"),
        ("PgUp  PgDn", "滚动"),
        ("Ctrl+Home  Ctrl+End", "开头、结尾"),
        ("Ctrl+C", "复制鼠标选中的文字"),
        ("Ctrl+P", "所有命令、主题"),
        ("F1", "这份帮助"),
        ("Ctrl+Q", "退出：两个模型都离开内存"),
    ),
    sheet_help_keys=(
        ("Up  Down  PgUp  PgDn", "选择一题"),
        ("Enter", "打开：文章、选项、两方的概率"),
        ("Left  Right", "换筛选条件；打开一题时：前一题、后一题"),
        ("Esc", "暂停；关闭打开的题目"),
        ("R", "继续暂停的作答"),
        ("[68.2–88.2]", "正确率的 95 % 区间"),
        ("F4", "把所有题目写成 CSV 文件"),
        ("Ctrl+P", "所有命令、主题"),
        ("F1", "这份帮助"),
        ("Ctrl+Q", "退出：模型离开内存"),
    ),
    checking="检查文件",
    loading="加载 {side}",
    reading="{side} 读取提示中",
    writing="{side} 回答中",
    answering="{side} 作答中",
    waiting="等候",
    done="完成",
    paused="已暂停：按 R 继续",
    paused_why="已停止：{reason}",
    busy="模型还在回答：按 Esc 停止。",
    seed="种子 {seed}",
    cut="截断（--max-tokens）",
    first_word="首字 {seconds:.2f} 秒",
    same="回答相同",
    apart="{share:.0%} 相同；第 {characters} 字之后开始不同",
    apart_at_once="{share:.0%} 相同；第一个字就不同",
    nothing_to_compare="其中一方没有说话：无从比较",
    marks_on="已标出只有一方说的：F2 显示 Markdown。",
    marks_off="显示 Markdown：F2 标出只有一方说的。",
    nothing_to_export="还没有可以导出的内容。",
    exported="已导出到 {file}",
    export_failed="无法写入 {file}：{reason}",
    questions="{done:,} / {total:,} 题   每秒 {speed:.1f} 题",
    left="剩 {minutes}:{seconds:02d}",
    accuracy="正确率 {share:.1%} [{low:.1f}–{high:.1f}] {correct:,}/{total:,}",
    agreement="答案相同 {share:.1%}（{same:,} / {both:,}）   概率平均相差 {distance:.1%}",
    no_agreement="还没有两方都答过的题目",
    mcnemar="A − B {difference:+.1f} %（95 % 区间 {low:+.1f} 到 {high:+.1f}）   McNemar p = {p:.3g}",
    filters=("全部", "答案不同", "只有 A 对", "只有 B 对", "两方都错", "没有答案"),
    columns=("#", "题号", "问题", "答案"),
    unanswered="没有答案：{reason}",
    row_title="第 {number} 题（题号 {id}）",
    right="正确",
    row_keys="← → 其他题目   Esc 关闭",
    distance="概率相差 {distance:.1%}",
)

_LANGUAGES = {"zh-Hant": TRADITIONAL, "zh-Hans": SIMPLIFIED, "en": ENGLISH}


def compare_words() -> CompareWords:
    """The sentences of the chosen language."""
    return _LANGUAGES[language()]
