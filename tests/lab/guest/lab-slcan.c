/* lab-slcan: make a CAN interface of a serial port, as slcand does, on a port that
 * is a pseudo terminal; writes "INTERFACE PID". The interface is there until the
 * process of that number, at which the cable ends, is killed. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#define N_SLCAN 17

int main(void)
{
	int discipline = N_SLCAN, cable = posix_openpt(O_RDWR | O_NOCTTY), port;
	char name[IFNAMSIZ] = "", said[256];
	struct termios raw;
	pid_t child;

	if (cable < 0 || grantpt(cable) || unlockpt(cable) || (port = open(ptsname(cable), O_RDWR | O_NOCTTY)) < 0)
		return perror("lab-slcan"), 1;
	tcgetattr(port, &raw);
	cfmakeraw(&raw);
	tcsetattr(port, TCSANOW, &raw);
	if (ioctl(port, TIOCSETD, &discipline) || ioctl(port, SIOCGIFNAME, name))
		return perror("lab-slcan: is the module slcan loaded?"), 1;
	child = fork();
	if (child)
		return printf("%s %d\n", name, child), child < 0;
	close(0), close(1), close(2);
	while (read(cable, said, sizeof said) > 0)
		;
	return 0;
}
