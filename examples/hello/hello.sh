#!/bin/sh
# The built image's command.
cat /hello/loud.txt
echo "version $VERSION, $(cat /hello/size.txt) bytes, running as $(id -un)"
