"""Tables: names of columns and roles, and what is said of those that are not read."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.core.errors import HoldfastError
from holdfast.evals.logs.chat import ROLES, RecordedChat
from holdfast.evals.logs.read import LogFile
from holdfast.evals.logs.tables import COLUMNS
from holdfast.report.words import log_reading

PAGE = (Path(__file__).parents[3] / "docs/reference/logs.md").read_text(encoding="utf-8")


def read(folder: Path, text: str) -> tuple[LogFile, list[RecordedChat]]:
    path = folder / "log.csv"
    path.write_text(text, encoding="utf-8")
    log = LogFile(path)
    return log, list(log.chats())


@pytest.mark.parametrize("name", [name for names in ROLES.values() for name in names])
def test_a_role_that_is_read_is_on_the_page(name: str) -> None:
    assert f"`{name}`" in PAGE.split("## Roles")[1].split("## openai")[0]


@pytest.mark.parametrize(
    ("customer", "agent"), [("Customer", "Agent"), ("client", "support"), ("End-User", "Operator")]
)
def test_the_roles_of_a_help_desk_are_read(customer: str, agent: str, tmp_path: Path) -> None:
    _, (chat,) = read(tmp_path, f"role,content\n{customer},It broke\n{agent},Sorry\n")
    assert chat.turns == (("user", "It broke"), ("assistant", "Sorry"))


def test_a_role_that_is_unknown_is_named(tmp_path: Path) -> None:
    with pytest.raises(HoldfastError, match="“narrator” is none"):
        read(tmp_path, "role,content\nNarrator,It rains\n")


@pytest.mark.parametrize(
    "column", ["ticket", "Ticket ID", "case", "case-number", "thread", "chatId", "dialog"]
)
def test_rows_of_one_ticket_are_one_conversation(column: str, tmp_path: Path) -> None:
    rows = "1,My bike,Sorry\n2,Hi,Hello\n1,Again,Yes\n"
    log, chats = read(tmp_path, f"{column},question,answer\n{rows}")
    assert [len(chat.turns) for chat in chats] == [4, 2]
    assert log.reading.id_columns is None


def test_a_column_like_a_conversations_id_that_is_not_read_is_named(tmp_path: Path) -> None:
    table = "customer_ref,message_id,bot_id,paid,question,answer\n"
    rows = [f"c{i % 2},m{i},b,yes,Hi {i},Hello\n" for i in range(4)]
    log, chats = read(tmp_path, table + "".join(rows))
    assert len(chats) == 4 and log.reading.id_columns == ("customer_ref",)
    assert "customer_ref looks like a conversation’s id and is not read" in "\n".join(
        log_reading(log.reading)
    )


@pytest.mark.parametrize(
    "header",
    [
        "question,answer,question",
        "Question,answer, question",
        "user message,reply,User_Message",
        "chat_id,chat-id,role,text",
    ],
)
def test_a_column_that_is_there_twice_is_refused(header: str, tmp_path: Path) -> None:
    with pytest.raises(HoldfastError, match=r"two columns are named .*: rename"):
        read(tmp_path, f"{header}\n1,My bike,Sorry\n")


def test_columns_of_the_page_are_those_that_are_read() -> None:
    section = PAGE.split("## csv")[1].split("```")[0]
    for names in COLUMNS.values():
        for name in names:
            assert f"`{name.removesuffix('_number')}`" in section or (
                f"`{name.removesuffix('_id')}`" in section and "each also with `_id`" in section
            )
