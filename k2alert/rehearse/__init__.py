"""rehearse: the same daemon and the same cycle, over a forge or a time that is not the real one."""
