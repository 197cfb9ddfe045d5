"""The hub's FTP and FTPS: pyftpdlib's protocol machine over the hub's own accounts, door and roots.

What differs from pyftpdlib, and why, stands in `docs/hub.md`; standards: RFC 959, 2228, 2389, 2428, 3659, 4217.
"""
