/* Reads messages with sofia-sip: each on stdin as its length, four octets, the highest first, and its octets; one line
 * each on stdout. Strings are in hexadecimal, what is absent is "-", a message that cannot be read is "refused". */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sofia-sip/msg.h>
#include <sofia-sip/sip.h>
#include <sofia-sip/sip_header.h>
#include <sofia-sip/sip_util.h>

static void text(char const *name, char const *value) {
  printf(" %s=", name);
  if (!value) putchar('-');
  else for (; *value; value++) printf("%02x", (unsigned char)*value);
}

static void number(char const *name, int present, unsigned long value) {
  if (present) printf(" %s=%lu", name, value);
  else printf(" %s=-", name);
}

static void read_one(char const *octets, size_t length) {
  msg_t *msg = msg_make(sip_default_mclass(), 0, octets, (ssize_t)length);
  sip_t *sip = msg ? sip_object(msg) : NULL;
  if (!sip || (sip->sip_flags & MSG_FLG_ERROR) || !(sip->sip_request || sip->sip_status) || !sip->sip_via ||
      !sip->sip_cseq || !sip->sip_call_id) {
    puts("refused");
  } else {
    printf("read");
    text("method", sip->sip_request ? sip->sip_request->rq_method_name : NULL);
    number("status", sip->sip_status != NULL, sip->sip_status ? (unsigned long)sip->sip_status->st_status : 0);
    number("cseq", 1, sip->sip_cseq->cs_seq);
    text("cseq_method", sip->sip_cseq->cs_method_name);
    text("call_id", sip->sip_call_id->i_id);
    text("host", sip->sip_via->v_host);
    text("port", sip->sip_via->v_port);
    text("branch", sip->sip_via->v_branch);
    number("length", sip->sip_content_length != NULL,
           sip->sip_content_length ? sip->sip_content_length->l_length : 0);
    number("body", 1, sip->sip_payload ? sip->sip_payload->pl_len : 0);
    putchar('\n');
  }
  fflush(stdout);
  if (msg) msg_destroy(msg);
}

int main(void) {
  unsigned char head[4];
  while (fread(head, 1, 4, stdin) == 4) {
    size_t length = (size_t)head[0] << 24 | (size_t)head[1] << 16 | (size_t)head[2] << 8 | head[3];
    char *octets = malloc(length + 1);
    if (!octets || fread(octets, 1, length, stdin) != length) return 1;
    octets[length] = 0;
    read_one(octets, length);
    free(octets);
  }
  return 0;
}
