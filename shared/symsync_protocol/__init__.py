"""What all parts of symsync agree on: names, paths, stamps, states, the state file's bytes, and errors.

Pure: nothing here touches a file, a socket or a clock. `docs/protocol.md` says the same in prose.
"""
