"""FTP and FTPS: any server since RFC 959 as a hub.

Reading order: `replies` and `listing` (pure), `control` (one connection), `data` and `tls`, `session` (login), `look`
(listings and stats), `store`, `fetch` and `changes`, `pool` and `crew` (many connections), `remote`.
"""

from symsync.remotes.ftp.manners import Way
from symsync.remotes.ftp.remote import FtpRemote

__all__ = ["FtpRemote", "Way"]
