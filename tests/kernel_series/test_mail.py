# SPDX-License-Identifier: GPL-2.0-or-later
"""Mails taken apart as git-mailinfo does it, and what mail does to text on its way undone."""

import base64
import quopri
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel_series import mail as mail_module
from kernel_series.content import NO_DATE, NOBODY
from kernel_series.errors import PatchUnreadable, SeriesError
from kernel_series.mail import Mail, looks_like_mail, read_mail, read_plain, split_mbox

DIFF = (
    "diff --git a/kernel/kprobes.c b/kernel/kprobes.c\nindex 1234567..89abcde 100644\n"
    "--- a/kernel/kprobes.c\n+++ b/kernel/kprobes.c\n@@ -1,3 +1,3 @@\n a = 1;\n \n-b\n+c é\n"
)
HEADERS = (
    "From: Masami Hiramatsu <mhiramat@redhat.com>\n"
    "Subject: [PATCH -tip v8 3/9] kprobes: Introduce\n kprobes jump optimization\n"
    "Date: Fri, 22 Jan 2010 13:55:05 -0500\n"
    "Message-Id: <20100122185505.9022@host>\n"
)
MESSAGE = "Introduce it.\n\nSigned-off-by: M <m@x>\n"
STAT = "---\n\n kernel/kprobes.c |  2 +-\n\n"


def mail(headers: str = HEADERS, body: str = MESSAGE + STAT + DIFF, extra: str = "") -> bytes:
    return (headers + extra + "\n" + body).encode()


def read(data: bytes) -> Mail:
    return read_mail(data, "box")


def test_a_plain_mail() -> None:
    got = read(mail())
    assert got == Mail(
        subject="kprobes: Introduce kprobes jump optimization",
        version=8,
        number=3,
        total=9,
        reply=False,
        author="Masami Hiramatsu <mhiramat@redhat.com>",
        date="2010-01-22T13:55:05-05:00",
        message_id="20100122185505.9022@host",
        message="Introduce it.\n\nSigned-off-by: M <m@x>",
        diff=DIFF.encode(),
    )
    patch = got.patch("mail 1")
    assert (patch.subject, patch.diff, patch.change) == (got.subject, got.diff, None)


def encoded_as(name: str) -> bytes:
    body = (MESSAGE + STAT + DIFF).encode()
    plain = "MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n"
    match name:
        case "quoted-printable":
            encoding = "Content-Transfer-Encoding: quoted-printable\n"
            return (HEADERS + plain + encoding + "\n").encode() + quopri.encodestring(body)
        case "base64 of CRLF":
            encoding = "Content-Transfer-Encoding: base64\n"
            crlf = body.replace(b"\n", b"\r\n")
            return (HEADERS + plain + encoding + "\n").encode() + base64.encodebytes(crlf)
        case "CRLF":
            return mail().replace(b"\n", b"\r\n")
        case "with an envelope":
            return b"From 0123456789 Mon Sep 17 00:00:00 2001\n" + mail()
        case "attached":
            return (
                HEADERS + 'MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary="="\n\n'
                f"--=\nContent-Type: text/plain\n\n{MESSAGE}\n--=\n"
                "Content-Type: application/octet-stream; name=x.patch\n\n"
                f"{STAT}{DIFF}\n--=\nContent-Type: text/html\n\n<p>\n--=--\n"
            ).encode()
    raise AssertionError(name)


@pytest.mark.parametrize(
    "name", ["quoted-printable", "base64 of CRLF", "CRLF", "with an envelope", "attached"]
)
def test_what_mail_does_to_text_is_undone(name: str) -> None:
    got, wanted = read(encoded_as(name)), read(mail())
    assert got.diff is not None
    assert got.diff.strip() == (wanted.diff or b"").strip()
    assert (got.subject, got.message, got.number) == (wanted.subject, wanted.message, 3)
    got.patch("x")


def test_flowed_text() -> None:
    diff = "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n a\n-b\n+c\n"
    flowed = "A sentence that \ngoes on.\n---\n" + diff.replace("\n a\n", "\n  a\n") + "-- \nme\n"
    header = "MIME-Version: 1.0\nContent-Type: text/plain; format=flowed\n"
    got = read(mail(HEADERS, flowed, header))
    assert got.message == "A sentence that goes on."
    assert got.diff == (diff + "-- \nme\n").encode()
    deleted = read(mail(HEADERS, flowed, header.replace("flowed", "flowed; delsp=yes")))
    assert deleted.message == "A sentence thatgoes on."


def test_carriage_returns_of_the_patched_file_stay() -> None:
    diff = "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\r\n+b\r\n"
    assert read(mail(body=MESSAGE + STAT + diff)).diff == diff.encode()


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ("From: =?utf-8?q?Ren=C3=A9?= <r@x>", "René <r@x>"),
        ("From: =?iso-8859-1?Q?Ren=E9?= <r@x>", "René <r@x>"),
        ("From: =?nonsense?Q?Ren=E9?= <r@x>", "Ren\ufffd <r@x>"),
        ("From: r@x", "r@x <r@x>"),
        ('From: "A, B" <r@x>', "A, B <r@x>"),
        ("From: nobody in particular", "unknown <unknown@localhost>"),
        ("X: y", NOBODY),
    ],
)
def test_authors(header: str, wanted: str) -> None:
    assert read(mail(header + "\nSubject: s\n")).author == wanted


@pytest.mark.parametrize(
    ("subject", "clean", "tag"),
    [
        ("[PATCH] x", "x", (None, None, None)),
        ("[PATCH v2 03/12] a: b", "a: b", (2, 3, 12)),
        ("[RFC][PATCH 1/3] [tip:x] y", "y", (None, 1, 3)),
        ("Re: [PATCH V4 2/3] y", "y", (4, 2, 3)),
        ("=?utf-8?q?=5BPATCH_0/2=5D_t=C3=A9st?=", "tést", (None, 0, 2)),
        ("[list] Re: [PATCH 1/2] y", "y", (None, 1, 2)),
        ("x [PATCH 1/2]", "x [PATCH 1/2]", (None, None, None)),
        ("[PATCH net-v6next 1/2] y", "y", (None, 1, 2)),
        ("", "(no subject)", (None, None, None)),
    ],
)
def test_subjects(subject: str, clean: str, tag: tuple[int | None, ...]) -> None:
    got = read(mail(f"From: a@b\nSubject: {subject}\n"))
    assert (got.subject, (got.version, got.number, got.total)) == (clean, tag)
    assert got.reply == ("Re:" in subject)


@pytest.mark.parametrize(
    "date", ["", "yesterday", "Fri, 22 Jan 1910 13:55:05 -0500", "1 Jan 99999"]
)
def test_dates_that_git_could_not_store(date: str) -> None:
    assert read(mail(f"Subject: s\nDate: {date}\n")).date == NO_DATE


def test_body_overrules_headers_and_scissors_cut() -> None:
    body = (
        "Hello,\nhere it is.\n\n-- >8 --\nFrom: Real Author <real@x>\n"
        "Subject: [PATCH v9 1/2]\n real\tsubject\n\nThe message.\n" + STAT + DIFF
    )
    got = read(mail(body=body))
    assert (got.author, got.subject) == ("Real Author <real@x>", "real subject")
    assert (got.message, got.number, got.version) == ("The message.", 1, 9)


@pytest.mark.parametrize("line", ["--", "-- 8 --", "a >8 b", "- - - - -", "x = y >8 - z; /* - */"])
def test_not_scissors(line: str) -> None:
    assert line in read(mail(body=f"top\n{line}\nend\n" + STAT + DIFF)).message


def test_no_diff() -> None:
    got = read(mail(body="+1, diff -u looks good\n> --- a/x\n> +++ b/x\n> @@ -1 +1 @@\n"))
    assert got.diff is None
    with pytest.raises(PatchUnreadable, match="mail 1: no diff in it"):
        got.patch("mail 1")


def test_quilt_patch_with_fields() -> None:
    text = f"Description: fix it\n The long story.\nAuthor: A B <a@b>\n---\n{DIFF}"
    assert not looks_like_mail(text.encode())
    got = read_plain(text.encode(), "fix.patch")
    assert (got.subject, got.author) == ("fix it", "A B <a@b>")
    bare = read_plain(DIFF.encode(), "fix.patch")
    assert (bare.subject, bare.author, bare.message) == ("fix.patch", NOBODY, "")


def test_mbox_splitting() -> None:
    first = b"Subject: a\n\nFrom here on it works.\n>From the start.\n\nFrom now on, too.\n"
    second = b"Subject: b\n\ntext\n"
    box = (
        b"From m@x Thu Jan  1 00:00:00 1970\n"
        + first
        + b"\nFrom m@x Thu Jan  1 00:00:00 1970\n"
        + second
    )
    assert split_mbox(box) == [first.replace(b">From", b"From"), second]
    assert split_mbox(first) == [first.replace(b">From", b"From")]
    assert split_mbox(b"") == []
    assert split_mbox(b"\n\n") == []


def test_as_git_reads_it(tmp_path: Path) -> None:
    """git-mailinfo, where it is not a matter of taste: subject, author, message and diff."""
    for data in [
        mail(),
        encoded_as("quoted-printable"),
        mail(body="x\n-- 8< --\n" + MESSAGE + DIFF),
    ]:
        done = subprocess.run(
            ["git", "mailinfo", "--scissors", "-b", "msg", "patch"],
            input=data, cwd=tmp_path, capture_output=True, check=True,
        )  # fmt: skip
        fields = dict(line.split(": ", 1) for line in done.stdout.decode().splitlines() if line)
        got = read(data)
        assert fields["Subject"].endswith(got.subject)
        assert f"{fields['Author']} <{fields['Email']}>" == got.author
        assert (tmp_path / "msg").read_text().strip() == got.message
        assert (tmp_path / "patch").read_bytes().endswith(got.diff or b"?")


PIECES = st.sampled_from(
    [
        "From m@x Thu Jan  1 00:00:00 1970", "From: a@b", "Subject: [PATCH 1/2] x", "Subject: =?",
         "",
        "Subject: =?utf-8?b?!!!?=", "Content-Type: multipart/mixed; boundary=x", "--x", "--x--",
         "---",
        "Content-Type: text/plain; charset=\"; format=flowed", "Content-Type: message/rfc822",
        "Content-Transfer-Encoding: base64", "Content-Transfer-Encoding: x-uuencode", "begin 644 x",
        "Content-Type: text/plain; name*0*=utf-8'x'%ff; name*1=\"a\"", "=?x?q?=", "Date: 99 Foo",
         ">From x",
        "Content-Type: text/plain; charset*=bad''%E4", "-- >8 --", "diff --git a/x b/x",
         "@@ -1 +1 @@",
         "-a",
        "From: =?a?q?=00?= <x@y>", "Content-Disposition: attachment; filename==?utf-8?q?a.patch?=",
         "\r",
    ]
)  # fmt: skip


class TestHostile:
    """Never anything but a Mail or a SeriesError, never a patch that leaves the tree."""

    def outcome(self, data: bytes) -> None:
        for one in split_mbox(data):
            try:
                got = read(one)
                assert got.subject.isprintable()
                assert "\n" not in got.author + got.message_id
                got.patch("x")
            except SeriesError as error:
                assert str(error)  # noqa: PT017

    @settings(deadline=None)
    @given(st.binary(max_size=300))
    def test_any_bytes(self, data: bytes) -> None:
        self.outcome(data)
        self.outcome(mail()[:-1] + data)

    @settings(max_examples=400, deadline=None)
    @given(st.lists(st.one_of(PIECES, st.text(max_size=10)), max_size=25))
    def test_pieces_of_mail(self, pieces: list[str]) -> None:
        self.outcome("\n".join(pieces).encode("utf-8", "surrogatepass"))

    def test_parameters_that_contradict_each_other(self) -> None:
        data = b"Subject: x\nContent-Disposition: attachment; name*=a''b; name*0*=a''b\n\nx\n"
        with pytest.raises(PatchUnreadable, match="its MIME headers are damaged"):
            read(data)

    @pytest.mark.parametrize(
        ("headers", "wanted"),
        [
            (b"content-type: message/rfc822\n\n" * 5000, "has more than 1000 parts"),
            (b"Content-Type: text/plain" + b"; a=b" * 5000, "has a header of more than 16 KiB"),
            (b"From: a\n" + b" b\n" * 9000, "has a header of more than 16 KiB"),
            (b"Content-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: text/plain"
             + b"; a=b" * 5000, "has a header of more than 16 KiB"),
        ],
    )  # fmt: skip
    def test_past_all_reason(self, headers: bytes, wanted: str) -> None:
        with pytest.raises(PatchUnreadable, match=wanted):
            read(b"Subject: x\n" + headers)

    def test_a_log_that_follows_a_word_like_a_header(self) -> None:
        log = "From:\n" + "  a line of the log\n" * 1000
        got = read(mail(body=f"It hangs.\n\n{log}\nDone.\n{STAT}{DIFF}"))
        assert got.message == f"It hangs.\n\n{log}\nDone."
        assert got.diff == DIFF.encode()

    def test_a_header_in_the_body_that_goes_on_and_on(self) -> None:
        """Putting it together line by line would take hours here."""
        body = b"From: A B <a@b>\nSubject: word\n" + b" more\n" * 200_000 + b"\nText.\n"
        encoding = b"Content-Transfer-Encoding: base64\n"
        for head, text in [(b"", body), (encoding, base64.encodebytes(body))]:
            got = read(b"Subject: x\n" + head + b"\n" + text)
            assert (got.author, got.message) == ("A B <a@b>", "Text.")
            assert got.subject == ("word" + " more" * 100)[:500]

    def test_nested_past_all_reason(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(mail_module, "MOST_PARTS", 10_000)
        with pytest.raises(PatchUnreadable, match="is nested too deeply"):
            read(b"Subject: x\n" + b"Content-Type: message/rfc822\n\n" * 5000)

    def test_comments_in_comments(self) -> None:
        assert read(b"Subject: x\nFrom: " + b"(" * 5000 + b"\n\nx\n").author == NOBODY

    def test_a_subject_of_brackets_only(self) -> None:
        """Taking them off one by one would take hours here."""
        one = read_plain(b"Subject: " + b"[a]Re:" * 100_000 + b"x\n", "name")
        assert one.subject == "x"

    def test_a_flowed_line_of_many_pieces(self) -> None:
        head = b"Subject: x\nContent-Type: text/plain; format=flowed\n\n"
        one = read(head + b" a \n" * 200_000 + b"end\n")
        assert len(one.message) == 2 * 200_000 + len("end")
