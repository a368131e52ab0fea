#!/bin/sh
# A custom plugin of node-problem-detector. Exit code 0: all is well; 1: devices are unhealthy; 2: nobody knows.
# What it prints is the message of the node's condition. It needs the program `chandler` and the daemon's socket.
status=$(chandler status 2>&1) || { echo "$status" | head -n 1; exit 2; }
echo "$status" | awk '
	$3 == "Unhealthy" { ill[$1 ": " $2 ": "] }
	/^  / { for (it in ill) if (index($0, it) == 3) { n++; if (!first) first = substr($0, 3) } }
	END { if (n) { print n " unhealthy: " first; exit 1 } print "all devices are healthy" }'
