"""Where media come from: each adapter yields files with what is known about them."""
