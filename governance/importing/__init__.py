"""What teams have already, brought over: Xray's policies and ignore rules, scanners' ignore lists."""
