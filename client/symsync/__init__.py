"""symsync keeps one directory the same on all of a person's computers, through any server they already have."""
