#!/usr/bin/env python3
"""Chromium without news of this machine's network interfaces; the environment's CHROMIUM has its path.

Chromium ends its requests (ERR_NETWORK_CHANGED) when an interface comes or goes, as those of the cluster's pods do all
the time. It hears of them from a netlink socket (netlink(7)), and does without where it gets none.
"""

import errno
import os
import socket
import sys

import pyseccomp

rules = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
refused = pyseccomp.ERRNO(errno.EAFNOSUPPORT)
rules.add_rule(refused, "socket", pyseccomp.Arg(0, pyseccomp.EQ, socket.AddressFamily.AF_NETLINK))
rules.load()
os.execv(os.environ["CHROMIUM"], [os.environ["CHROMIUM"], *sys.argv[1:]])
