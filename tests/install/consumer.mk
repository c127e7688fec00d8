# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
#
# What a project that uses the library would write.
CFLAGS += -std=c11 -Wall -Wextra -Wpedantic -Werror
PKG_CONFIG ?= pkg-config

all: shared static

shared: consumer.c
	$(CC) $(CFLAGS) $(shell $(PKG_CONFIG) --cflags libvfmig) -o $@ $< \
	    $(shell $(PKG_CONFIG) --libs libvfmig)

static: consumer.c
	$(CC) $(CFLAGS) $(shell $(PKG_CONFIG) --cflags libvfmig) -static -o $@ $< \
	    $(shell $(PKG_CONFIG) --static --libs libvfmig)
