"""The contract of everything that carries content, and of the names it lies under."""

import itertools
import os
from hashlib import sha256
from pathlib import Path

import pytest

from contract.bench import (
    TIME,
    Bench,
    Hub,
    Sources,
    floor,
    get,
    is_listed,
    listed,
    make,
    names,
    only,
    put,
    reason,
    reasons,
    there,
)
from symsync.core.values import Problem, Reason, Side
from symsync.remotes.base import Fetch, Fetched, Remote, Store, Stored
from symsync_protocol.errors import HubError
from symsync_protocol.stamps import Kind

MANY = 300
LARGE = os.urandom(1 << 20) * 5

FULL_DISK = Path("/dev/full")

HUGE = os.urandom(20 << 20)
SENT_TWICE = 8 << 20
"""How far a remote may go back to be certain."""

ODD_NAMES = [
    " leading blank",
    "trailing blank ",
    "two  blanks",
    "-rf",
    "--help",
    "-",
    ".hidden",
    "...",
    "سلام دنیا",
    "نیم‌فاصله",
    "中文文件",
    "🦊 🏔️",
    "e\u0301 decomposed",
    "\xe9 composed",
    os.fsdecode(b"latin-\xe9\xff"),
    "a" * 200,
    "ظ" * 100,
    "star*?[x]{y}",
    "back\\slash",
    "quo\"te's",
    "$HOME `x` & | ; < >",
    "per%20cent %s",
    "co:lon",
    "~",
    "#hash",
    "plus+equals=",
    "tab\tname",
    "del\x7f",
    "new\nline",
]


class StoreContract(Bench):
    @pytest.fixture(autouse=True)
    def nobody_else_writes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """No broken connection's bytes are still on their way here, so nobody has to wait for them."""
        monkeypatch.setattr("symsync.remotes.ftp.store.QUIET_SECONDS", 0)

    def test_stored_stamp_and_digest(self, remote: Remote, sources: Sources) -> None:
        """What was stored bears the stamp that listing and stat tell, and the digest of what was sent."""
        make(remote, "d")
        stored = put(remote, sources, "d/f", b"some content")
        assert (stored.job.path, sha256(b"some content").digest()) == (stored.found.path, stored.digest)
        assert (Kind.FILE, 12) == (stored.found.kind, stored.found.stamp.size)
        stamps = [there(remote, "d/f").stamp, listed(remote, "d")["d/f"].stamp]
        assert [stored.found.stamp] * 2 == stamps
        assert b"some content" == get(remote, sources, "d/f")

    def test_empty_file(self, remote: Remote, sources: Sources) -> None:
        """A file of no bytes is a file."""
        stored = put(remote, sources, "empty", b"")
        assert (0, sha256().digest()) == (stored.found.stamp.size, stored.digest)
        assert (b"", b"") == (get(remote, sources, "empty"), remote.read("empty"))

    def test_stored_time_and_mode(self, remote: Remote, sources: Sources) -> None:
        """Both are set where the hub can: the stamp in the outcome has the new time, to within the tick."""
        job = Store(sources.file(b"x"), "f", mtime_ns=TIME, mode=0o640)
        stored = only(remote.store([job]))
        assert isinstance(stored, Stored)
        # Asked after the deed: the first one may have taught the remote what the hub can.
        if remote.traits.sets_times:
            assert floor(TIME, remote.traits.tick_ns) == stored.found.stamp.mtime_ns
        if remote.traits.sets_modes:
            assert there(remote, "f").mode in (0o640, None)
        assert there(remote, "f").stamp == stored.found.stamp

    def test_large_file(self, remote: Remote, sources: Sources) -> None:
        """Five megabytes arrive whole, both ways, and the progress adds up to each byte once."""
        counted: list[int] = []
        stored = only(remote.store([Store(sources.file(LARGE), "large")], counted.append))
        assert isinstance(stored, Stored)
        assert (sha256(LARGE).digest(), len(LARGE)) == (stored.digest, sum(counted))
        counted.clear()
        fetched = only(remote.fetch([Fetch("large", sources.free())], counted.append))
        assert isinstance(fetched, Fetched)
        assert (stored.digest, len(LARGE), len(LARGE)) == (fetched.digest, fetched.size, sum(counted))
        assert LARGE == fetched.job.target.read_bytes()

    def test_many_files(self, remote: Remote, sources: Sources) -> None:
        """Three hundred files in one call, up and down: one outcome for each job, each with its own content."""
        jobs = [Store(sources.file(b"%d" % i), f"f{i}") for i in range(MANY)]
        stored = {outcome.job: outcome for outcome in remote.store(iter(jobs)) if isinstance(outcome, Stored)}
        assert set(jobs) == stored.keys()
        assert {job.path: stored[job].found.stamp for job in jobs} == {
            path: found.stamp for path, found in listed(remote).items()
        }
        fetches = [Fetch(f"f{i}", sources.free()) for i in range(MANY)]
        fetched = {outcome.job: outcome for outcome in remote.fetch(iter(fetches)) if isinstance(outcome, Fetched)}
        assert {job: sha256(b"%d" % i).digest() for i, job in enumerate(fetches)} == {
            job: outcome.digest for job, outcome in fetched.items()
        }

    def test_one_bad_store(self, remote: Remote, sources: Sources) -> None:
        """Whatever is wrong with one job, it alone fails; a directory in the way stays."""
        make(remote, "d", "d/inner")
        a_directory = sources.free()
        a_directory.mkdir()
        bad = {
            "vanished": Store(sources.free(), "vanished"),
            "unreadable": Store(a_directory, "unreadable"),
            "no parent": Store(sources.file(b"x"), "gone/f"),
            "in the way": Store(sources.file(b"x"), "d"),
        }
        good = [Store(sources.file(b"good"), f"good{i}") for i in range(4)]
        jobs = [job for pair in zip(good, bad.values(), strict=True) for job in pair]
        failed, stored = {}, set()
        for outcome in remote.store(jobs):
            if isinstance(outcome, Stored):
                stored.add(outcome.job)
            else:
                failed[outcome[0]] = reason(outcome)
        assert (set(good), set(bad.values())) == (stored, set(failed))
        assert (Reason.ABSENT, Reason.ABSENT) == (failed[bad["vanished"]], failed[bad["no parent"]])
        assert {"d/inner"} == names(remote, "d")

    def test_source_that_grows(self, remote: Remote, sources: Sources) -> None:
        """What changes while it is read belongs to no version, and is not taken for one."""
        source = sources.file(LARGE)
        times = itertools.count(1)

        def grow(_count: int) -> None:
            # Who reads until there is nothing more would read for ever.
            assert next(times) < MANY
            with source.open("ab") as file:
                file.write(b"more")

        assert Reason.CHANGED is reason(only(remote.store([Store(source, "f")], grow)))

    @pytest.mark.parametrize("left", [1 << 20, len(HUGE) - (6 << 20), len(HUGE)])
    def test_store_goes_on(self, hub: Hub, remote: Remote, sources: Sources, left: int) -> None:
        """Where a store was cut off the next one goes on: only the rest travels, and at most a few megabytes twice."""
        put(remote, sources, "f", HUGE[:left])
        counted: list[int] = []
        job = Store(sources.file(HUGE), "f", mtime_ns=TIME, mode=0o640, resume=True)
        stored = only(remote.store([job], counted.append))
        assert isinstance(stored, Stored), stored
        assert (sha256(HUGE).digest(), len(HUGE)) == (stored.digest, stored.found.stamp.size)
        assert (stored.found.stamp, HUGE) == (there(remote, "f").stamp, get(remote, sources, "f"))
        if hub.expects.begins_anew or not remote.traits.appends:
            assert len(HUGE) == sum(counted)
        else:
            assert len(HUGE) - left <= sum(counted) <= min(len(HUGE), len(HUGE) - left + SENT_TWICE)

    def test_nothing_to_go_on_with(self, remote: Remote, sources: Sources) -> None:
        """Where nothing lies, or more than the source has, the whole is stored."""
        put(remote, sources, "longer", HUGE)
        jobs = [Store(sources.file(LARGE), path, resume=True) for path in ("free", "longer")]
        outcomes = list(remote.store(jobs))
        assert [True, True] == [isinstance(outcome, Stored) for outcome in outcomes]
        assert [LARGE, LARGE] == [get(remote, sources, path) for path in ("free", "longer")]

    def test_jobs_are_drawn_as_needed(self, remote: Remote, sources: Sources) -> None:
        """An endless supply of jobs does not keep the first outcomes waiting."""
        source = sources.file(b"x")
        outcomes = remote.store(Store(source, f"f{i}") for i in itertools.count())
        assert [True] * 3 == [isinstance(outcome, Stored) for outcome in itertools.islice(outcomes, 3)]

    def test_seen_by_others(self, hub: Hub, remote: Remote, sources: Sources) -> None:
        """What one connection stored another one finds, with the same stamp."""
        stored = put(remote, sources, "f", b"shared")
        with hub.connect() as other:
            assert (stored.found.stamp, b"shared") == (there(other, "f").stamp, get(other, sources, "f"))


class FetchContract(Bench):
    def test_one_bad_fetch(self, remote: Remote, sources: Sources) -> None:
        """A missing file is ABSENT, a directory or an unusable target a problem; the rest is fetched."""
        make(remote, "d")
        put(remote, sources, "f", b"good")
        good = Fetch("f", sources.free())
        missing, directory = Fetch("gone", sources.free()), Fetch("d", sources.free())
        nowhere = Fetch("f", sources.free() / "no such directory" / "target")
        outcomes = list(remote.fetch([missing, directory, nowhere, good]))
        failed = {outcome[0]: reason(outcome) for outcome in outcomes if isinstance(outcome, tuple)}
        assert {missing, directory, nowhere} == failed.keys()
        assert (Reason.ABSENT, b"good") == (failed[missing], good.target.read_bytes())

    def test_fetch_to_a_full_disk(self, remote: Remote, sources: Sources) -> None:
        """It is this computer's disk that is named, not the hub's, wherever in the file it shows itself."""
        for content in (b"held back until the end", LARGE):
            put(remote, sources, "f", content)
            _, problem = only(remote.fetch([Fetch("f", FULL_DISK)]))
            assert isinstance(problem, Problem)
            assert (Reason.FULL, Side.HERE) == (problem.reason, problem.side)
            assert str(FULL_DISK) in problem.detail
            assert [None] == remote.remove_files(["f"])

    def test_fetch_makes_the_target_anew(self, remote: Remote, sources: Sources) -> None:
        """Nothing of what the target held before remains."""
        put(remote, sources, "f", b"short")
        target = sources.file(b"something much longer")
        assert isinstance(only(remote.fetch([Fetch("f", target)])), Fetched)
        assert b"short" == target.read_bytes()

    @pytest.mark.parametrize("offset", [1, 1 << 20, len(LARGE) - 1, len(LARGE)])
    def test_fetch_goes_on(self, remote: Remote, sources: Sources, offset: int) -> None:
        """With an offset only the rest travels; size and digest are of the whole file."""
        put(remote, sources, "f", LARGE)
        counted: list[int] = []
        target = sources.file(LARGE[:offset])
        fetched = only(remote.fetch([Fetch("f", target, offset)], counted.append))
        assert isinstance(fetched, Fetched), fetched
        assert (len(LARGE), sha256(LARGE).digest()) == (fetched.size, fetched.digest)
        assert (LARGE, len(LARGE) - offset) == (target.read_bytes(), sum(counted))

    def test_fetch_goes_on_past_the_end(self, remote: Remote, sources: Sources) -> None:
        """A file that is shorter than what was fetched of it has changed, and is no success."""
        put(remote, sources, "f", b"short")
        target = sources.file(b"something much longer")
        reason(only(remote.fetch([Fetch("f", target, 21)])))


class NameContract(Bench):
    @pytest.mark.parametrize("name", ODD_NAMES, ids=ascii)
    def test_files_with_odd_names(self, hub: Hub, remote: Remote, sources: Sources, name: str) -> None:
        """A file with an odd name is stored, found under it, renamed and removed; or a NAME problem and not there."""
        make(remote, "d")
        path = f"d/{name}"
        outcome = only(remote.store([Store(sources.file(b"odd"), path)]))
        if name in hub.expects.refused_names:
            assert (Reason.NAME, {}) == (reason(outcome), listed(remote, "d"))
            return
        assert isinstance(outcome, Stored), outcome
        assert ({path} if is_listed(remote, path) else set()) == names(remote, "d")
        assert (outcome.found.stamp, b"odd") == (there(remote, path).stamp, get(remote, sources, path))
        assert [None, None] == remote.rename([(path, "plain"), ("plain", path)])
        assert b"odd" == remote.read(path)
        assert [None] == remote.remove_files([path])
        assert {} == listed(remote, "d")

    @pytest.mark.parametrize("name", ODD_NAMES, ids=ascii)
    def test_directories_with_odd_names(self, hub: Hub, remote: Remote, sources: Sources, name: str) -> None:
        """The same for a directory, and for what lies in it."""
        outcome = only(remote.make_directories([name]))
        if name in hub.expects.refused_names | hub.expects.refused_directories:
            assert (Reason.NAME, {}) == (reason(outcome), listed(remote))
            return
        assert outcome is None
        put(remote, sources, f"{name}/f", b"inside")
        assert ({name} if is_listed(remote, name) else set()) == names(remote)
        assert ({f"{name}/f"}, b"inside") == (names(remote, name), get(remote, sources, f"{name}/f"))
        assert [None] == remote.remove_files([f"{name}/f"])
        assert [None] == remote.remove_directories([name])
        assert [None] == remote.stat([name])


class StateFileContract(Bench):
    def test_read(self, remote: Remote, sources: Sources) -> None:
        """Any part of a file can be read; at its end there is nothing more."""
        put(remote, sources, "f", b"0123456789")
        assert b"0123456789" == remote.read("f")
        assert (b"3456789", b"345") == (remote.read("f", 3), remote.read("f", 3, 3))
        assert (b"89", b"", b"") == (remote.read("f", 8, 100), remote.read("f", 10), remote.read("f", 0, 0))

    def test_read_nothing(self, remote: Remote) -> None:
        """Where there is no such file the answer is None, be its directory there or not."""
        assert (None, None, None) == (remote.read("gone"), remote.read("gone/f"), remote.read("gone", 5, 5))

    def test_what_could_not_be_read_is_no_place_to_begin(self, remote: Remote, sources: Sources) -> None:
        """Whatever is stored after a look into the middle of nothing, or at the end of something, is stored whole."""
        remote.write("short", b"12345")
        for path in ("gone", "short"):
            remote.read(path, 5, 5)
            put(remote, sources, f"f after {path}", b"0123456789")
            remote.read(path, 5)
            remote.write(f"g after {path}", b"0123456789")
            for name in (f"f after {path}", f"g after {path}"):
                assert b"0123456789" == remote.read(name)

    def test_write(self, remote: Remote) -> None:
        """A file is made or overwritten, also by something shorter, also by nothing."""
        for data in (b"first", LARGE, b"shorter", b""):
            remote.write("f", data)
            assert (data, len(data)) == (remote.read("f"), there(remote, "f").stamp.size)

    def test_append(self, remote: Remote) -> None:
        """A missing file is made, one that is there grows; a hub that can't raises HubError, and its traits say so."""
        try:
            for i in range(10):
                remote.append("f", b"%d" % i)
        except HubError:
            assert not remote.traits.appends
            return
        remote.append("f", b"")
        assert b"0123456789" == remote.read("f")
        remote.write("f", b"anew, ")
        remote.append("f", b"and more")
        assert b"anew, and more" == remote.read("f")

    @pytest.mark.parametrize("more", [0, 200])
    def test_looked_at_and_written(self, remote: Remote, more: int) -> None:
        """The looks come before the write, whether they are few or many, and are what `stat` tells."""
        remote.write("f", b"12345")
        before = there(remote, "f")
        paths = ["gone", "f", *(f"gone-{number}" for number in range(more))]
        assert [None, before, *[None] * more] == remote.look_and_write(paths, "g", b"anew")
        assert [None, before, *[None] * more] == remote.look_and_write(paths, "f", b"anew, and longer")
        assert (b"anew", b"anew, and longer") == (remote.read("g"), remote.read("f"))
        now = there(remote, "f")
        assert ("h", [None, now, *[None] * more]) == remote.stage("h", b"staged", paths)
        assert b"staged" == remote.read("h")
        before = there(remote, "f")
        try:
            assert [None, before, *[None] * more] == remote.look_and_append(paths, "f", b", and more")
        except HubError:
            assert not remote.traits.appends
            return
        assert b"anew, and longer, and more" == remote.read("f")
        assert [] == remote.look_and_append([], "g", b"!")
        assert b"anew!" == remote.read("g")

    def test_an_expected_append(self, remote: Remote) -> None:
        """An append that is expected is none of anything else: the file grows, or is written anew before, or replaced;
        or another one is appended to, also after a refusal, or one that is not there yet, or none at all."""
        remote.write("f", b"1")
        make(remote, "d")
        renames = itertools.cycle([("d", "d2"), ("d2", "d")])

        def expect(path: str) -> None:
            remote.expect_write(path)
            remote.expect_write(path)
            assert [None] == remote.rename([next(renames)])

        try:
            expect("f")
            remote.append("f", b"2")
        except HubError:
            assert not remote.traits.appends
            return
        expect("f")
        remote.write("f", b"anew, ")
        remote.append("f", b"3")
        expect("f")
        remote.write("f.new", b"replaced, ")
        remote.remove_files(["f"])
        assert [None] == remote.rename([("f.new", "f")])
        remote.append("f", b"4")
        expect("gone")
        remote.append("f", b"5")
        remote.expect_write("f")
        assert [Reason.ABSENT] == reasons(remote.rename([("nothing", "new")]))
        remote.append("f", b"6")
        assert (b"replaced, 456", None) == (remote.read("f"), remote.read("gone"))
        expect("gone")
        remote.append("gone", b"made")
        expect("f")
        expect("gone")
        remote.append("gone", b" twice")
        expect("f")
        assert (b"replaced, 456", b"made twice") == (remote.read("f"), remote.read("gone"))

    def test_write_without_a_directory(self, remote: Remote) -> None:
        """What can't be written is the run's failure, told with its path."""
        with pytest.raises(HubError, match=r"\bgone/f\b"):
            remote.write("gone/f", b"x")
        with pytest.raises(HubError):
            remote.append("gone/f", b"x")
        assert [None] == remote.stat(["gone"])
