"""What only a server with accounts of its own can show: files of the web server's user."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from integration.conftest import in_container
from integration.scenarios import Fleet, Tree
from real_servers import HOME, SERVERS, docker
from symsync.remotes.location import Location


@pytest.mark.parametrize("by", ["edit", "removal"])
def test_a_file_of_another_user_is_replaced_all_the_same(
    servers: Callable[[str], Location], base: Path, by: str
) -> None:
    """The wiki case: the web server made the file, we may write in its directory; its version is in the trash."""
    location = servers("vsftpd")
    with ExitStack() as stack:
        fleet = Fleet(in_container("vsftpd", location, stack), base)
        fleet.join("paris", "oslo", filemode="644", dirmode="755")
        fleet["paris"].fill({"wiki/page": b"first", "wiki/other": b"other"})
        fleet.sync_all()
        fleet.hub.place.write("wiki/page", b"written by the wiki")
        page = f"{HOME}/{location.directory}/wiki/page"
        docker("exec", SERVERS["vsftpd"].container, "sh", "-c", f"chown www-data:www-data {page} && chmod 644 {page}")
        fleet.sync_all()
        assert b"written by the wiki" == fleet["oslo"].read("wiki/page")
        if by == "edit":
            fleet["paris"].write("wiki/page", b"edited at home")
        else:
            fleet["paris"].remove("wiki/page")
        results = fleet.sync_all()
        assert {"paris": 0, "oslo": 0} == {name: result.exit_status for name, result in results.items()}
        expected: Tree = {"wiki/other": b"other"}
        if by == "edit":
            expected["wiki/page"] = b"edited at home"
        assert fleet.all_hold(expected) == fleet.trees()
        assert [b"written by the wiki"] == fleet.hub.place.kept("wiki/page")
