"""The hub's SFTP: paramiko carries SSH, what is spoken in it is answered here from the hub's own accounts and roots.

paramiko's own SFTP server sends each reply by itself, takes all names for UTF-8, and empties a file whose size is set.
Standards: RFC 4251 to 4254; draft-ietf-secsh-filexfer-02 for version 3 of the protocol, as OpenSSH
speaks it (its file PROTOCOL).
"""
