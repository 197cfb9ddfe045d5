"""SFTP: any account on an SSH server as a hub (the protocol's version 3, draft-ietf-secsh-filexfer-02).

paramiko carries the bytes; the requests are our own, for paramiko's file calls wait for each reply. Reading order:
`wire` (pure: requests and replies), `line` (one connection, many requests on their way), `session` (what a server can
do), `look`, `store`, `fetch`, `changes` and `small` (what is asked of it), `address`, `host_keys`, `login` and
`connection` (getting in), `crew` (many jobs), `remote`.
"""

from symsync.remotes.sftp.remote import SftpRemote

__all__ = ["SftpRemote"]
