/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/* The guest program as bytes, for KVM's processors: vcpu-kvm.c. */
    .section .rodata
    .global guest_image, guest_image_size
    .balign 16
guest_image:
    .incbin "guest.bin"
guest_image_end:
    .balign 8
guest_image_size:
    .quad guest_image_end - guest_image
    .section .note.GNU-stack, "", @progbits
