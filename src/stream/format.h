/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_SRC_STREAM_FORMAT_H
#define VFM_SRC_STREAM_FORMAT_H

/* The numbers of QEMU's migration stream: vfmig-stream(5) explains them.
 * All integers are big-endian. */

#include <stdint.h>

#define STREAM_MAGIC               UINT32_C(0x5145564d) /* "QEVM" */
#define STREAM_VERSION             UINT32_C(3)
#define STREAM_VERSION_OBSOLETE    UINT32_C(2)

/* What may stand where an item begins; sections: enum vfm_section_type. */
#define ITEM_EOF                   0x00
#define ITEM_SUBSECTION            0x05
#define ITEM_VMDESCRIPTION         0x06
#define ITEM_CONFIGURATION         0x07
#define ITEM_COMMAND               0x08
#define ITEM_FOOTER                0x7e

/* The longest text behind a length byte; machine names keep to it too. */
#define STREAM_NAME_MAX            255

#define HEADER_BYTES               8
#define FOOTER_BYTES               5
#define COMMAND_HEAD_BYTES         5

/* Tags in the body of a VFIO section. */
#define VFIO_TAG(n)                (UINT64_C(0xffffffffef100000) + (n))
#define VFIO_TAG_END_OF_STATE      VFIO_TAG(1)
#define VFIO_TAG_CONFIG            VFIO_TAG(2)
#define VFIO_TAG_SETUP             VFIO_TAG(3)
#define VFIO_TAG_DATA              VFIO_TAG(4)
#define VFIO_TAG_INIT_DATA_SENT    VFIO_TAG(5)
#define VFIO_TAG_CONFIG_LOAD_READY VFIO_TAG(6)
#define VFIO_TAG_BYTES             8
/* Around a configuration record: its own, and the one that ends the body. */
#define VFIO_CONFIG_TAGS_BYTES     (2 * VFIO_TAG_BYTES)

#define VFIO_SECTION_VERSION       1
#define RAM_SECTION_VERSION        4

/* What we write; what is read may have other pages. */
#define RAM_PAGE_BYTES             4096

/* The configuration record is PCI config space, an MSI-X table of at most
 * 2048 entries and a few words: below 40 KiB. */
#define VFIO_CONFIG_MAX            65536

/* A blob's section: its name, and in its body a length, so many bytes, and
 * their digest. */
#define BLOB_SECTION_SUFFIX        "/vfmig-blob"
#define BLOB_HEAD_BYTES            8
#define BLOB_DIGEST_BYTES          16

/* Flags in the low bits of a RAM word. */
#define RAM_FLAG_FULL              0x001
#define RAM_FLAG_ZERO              0x002
#define RAM_FLAG_MEM_SIZE          0x004
#define RAM_FLAG_PAGE              0x008
#define RAM_FLAG_EOS               0x010
#define RAM_FLAG_CONTINUE          0x020
#define RAM_FLAG_XBZRLE            0x040
#define RAM_FLAG_HOOK              0x080
#define RAM_FLAG_COMPRESSED        0x100
#define RAM_FLAG_MULTIFD_FLUSH     0x200

#define MULTIFD_MAGIC              UINT32_C(0x11223344)
#define MULTIFD_VERSION            UINT32_C(1)
#define MULTIFD_INIT_BYTES         64
#define MULTIFD_HEAD_BYTES         12
#define MULTIFD_NAME_BYTES         256
#define MULTIFD_RAM_HEAD_BYTES     320
#define MULTIFD_DEVICE_HEAD_BYTES  276
/* Guest memory that one packet covers. */
#define MULTIFD_PACKET_COVERS      (512 * 1024)

#define MULTIFD_FLAG_SYNC          UINT32_C(0x01)
#define MULTIFD_FLAG_COMPRESSION   UINT32_C(0x3e)
#define MULTIFD_FLAG_DEVICE_STATE  UINT32_C(0x40)

/* In front of the payload of a device-state packet. */
#define DEVICE_PACKET_HEAD_BYTES   12
#define DEVICE_PACKET_VERSION      UINT32_C(0)
#define DEVICE_PACKET_CONFIG       UINT32_C(0x1)
#define DEVICE_PACKET_NO_INDEX     UINT32_MAX

#endif
