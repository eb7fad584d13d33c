/*
 * A Modbus server by libmodbus, of Debian's libmodbus-dev, for tests.
 * usage: libmodbus_server tcp PORT UNIT | libmodbus_server rtu PATH BAUD UNIT
 * stdin: lines "TABLE ADDRESS VALUE ..." up to a line "end"; then it prints "ready PORT" and serves until it is killed.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <modbus/modbus.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <unistd.h>

#define SIZE 10000

static void store(modbus_mapping_t *map, const char *table, int address, long value) {
  if (address < 0 || address >= SIZE) return;
  if (!strcmp(table, "coil")) map->tab_bits[address] = (uint8_t)value;
  else if (!strcmp(table, "discrete-input")) map->tab_input_bits[address] = (uint8_t)value;
  else if (!strcmp(table, "holding-register")) map->tab_registers[address] = (uint16_t)value;
  else map->tab_input_registers[address] = (uint16_t)value;
}

static void read_tables(modbus_mapping_t *map) {
  static char line[65536];
  while (fgets(line, sizeof line, stdin)) {
    char *table = strtok(line, " \n");
    if (!table) continue;
    if (!strcmp(table, "end")) return;
    int address = atoi(strtok(NULL, " \n"));
    for (char *word; (word = strtok(NULL, " \n")); address++) store(map, table, address, atol(word));
  }
}

static void serve_line(modbus_t *ctx, modbus_mapping_t *map) {
  uint8_t query[MODBUS_RTU_MAX_ADU_LENGTH];
  for (;;) {
    int length = modbus_receive(ctx, query);
    if (length > 0) modbus_reply(ctx, query, length, map);
    else if (length < 0 && (errno == EIO || errno == EBADF || errno == ENXIO)) exit(1);
  }
}

static void serve_tcp(modbus_t *ctx, modbus_mapping_t *map, int listener) {
  uint8_t query[MODBUS_TCP_MAX_ADU_LENGTH];
  fd_set all;
  int highest = listener;
  FD_ZERO(&all);
  FD_SET(listener, &all);
  for (;;) {
    fd_set ready = all;
    if (select(highest + 1, &ready, NULL, NULL, NULL) < 0) continue;
    for (int fd = 0; fd <= highest; fd++) {
      if (!FD_ISSET(fd, &ready)) continue;
      if (fd == listener) {
        int client = accept(listener, NULL, NULL);
        if (client < 0) continue;
        FD_SET(client, &all);
        if (client > highest) highest = client;
        continue;
      }
      modbus_set_socket(ctx, fd);
      int length = modbus_receive(ctx, query);
      if (length > 0) modbus_reply(ctx, query, length, map);
      else if (length < 0) {
        close(fd);
        FD_CLR(fd, &all);
      }
    }
  }
}

int main(int count, char **words) {
  if (count < 4) return 2;
  modbus_mapping_t *map = modbus_mapping_new(SIZE, SIZE, SIZE, SIZE);
  read_tables(map);
  if (!strcmp(words[1], "rtu")) {
    modbus_t *ctx = modbus_new_rtu(words[2], atoi(words[3]), 'N', 8, 1);
    modbus_set_slave(ctx, atoi(words[4]));
    if (modbus_connect(ctx) < 0) return 1;
    printf("ready 0\n");
    fflush(stdout);
    serve_line(ctx, map);
  }
  modbus_t *ctx = modbus_new_tcp("127.0.0.1", atoi(words[2]));
  int listener = modbus_tcp_listen(ctx, 8);
  if (listener < 0) return 1;
  struct sockaddr_in name;
  socklen_t length = sizeof name;
  getsockname(listener, (struct sockaddr *)&name, &length);
  printf("ready %d\n", ntohs(name.sin_port));
  fflush(stdout);
  serve_tcp(ctx, map, listener);
}
