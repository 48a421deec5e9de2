#!/bin/sh
# The LAN settings that ipmi_sim reports: get <name> ...
shift
for name in "$@"; do
    case $name in
    ip_addr) echo "$name:127.0.0.1" ;;
    ip_addr_src) echo "$name:static" ;;
    mac_addr) echo "$name:02:00:00:00:00:10" ;;
    subnet_mask) echo "$name:255.0.0.0" ;;
    *_mac_addr) echo "$name:00:00:00:00:00:00" ;;
    *) echo "$name:0.0.0.0" ;;
    esac
done
