# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_chandler_global_optspecs
    string join \n config= host-root= kubelet-dir= log= log-format= state-dir= runtime-dir= h/help V/version
end

function __fish_chandler_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_chandler_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_chandler_using_subcommand
    set -l cmd (__fish_chandler_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c chandler -n "__fish_chandler_needs_command" -l config -d 'The configuration file' -r -F
complete -c chandler -n "__fish_chandler_needs_command" -l host-root -d 'Read /sys, /dev and /proc below this directory' -r -F
complete -c chandler -n "__fish_chandler_needs_command" -l kubelet-dir -d 'The directory of kubelet.sock and the plugins\' sockets [default: kubelet.pluginDir of the configuration]' -r -F
complete -c chandler -n "__fish_chandler_needs_command" -l log -d 'What is logged: error, warn, info, debug or trace, also by module' -r
complete -c chandler -n "__fish_chandler_needs_command" -l log-format -d 'How it is logged' -r -f -a "text\t'For people and for the journal'
json\t'For programs: an object a line'"
complete -c chandler -n "__fish_chandler_needs_command" -l state-dir -d 'What must survive a restart' -r -F
complete -c chandler -n "__fish_chandler_needs_command" -l runtime-dir -d 'Where the daemon has the socket on which it is asked for its status' -r -F
complete -c chandler -n "__fish_chandler_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chandler -n "__fish_chandler_needs_command" -s V -l version -d 'Print version'
complete -c chandler -n "__fish_chandler_needs_command" -f -a "run" -d 'Find devices and offer them to the kubelet, until SIGTERM or SIGINT'
complete -c chandler -n "__fish_chandler_needs_command" -f -a "check" -d 'Check a configuration file and print what it means with all defaults filled in'
complete -c chandler -n "__fish_chandler_needs_command" -f -a "profiles" -d 'List the kinds of hardware that are known, which `profile` in a resource names'
complete -c chandler -n "__fish_chandler_needs_command" -f -a "schema" -d 'Print the JSON Schema of the configuration file, by which editors complete and check it'
complete -c chandler -n "__fish_chandler_needs_command" -f -a "setup" -d 'Write a configuration for this machine, with the hardware that is found and known'
complete -c chandler -n "__fish_chandler_needs_command" -f -a "capture" -d 'Write what is known of this machine\'s hardware into an archive, for a bug report; serial numbers in it are made up'
complete -c chandler -n "__fish_chandler_needs_command" -f -a "discover" -d 'Look once and show what would be offered, and what would not and why'
complete -c chandler -n "__fish_chandler_needs_command" -f -a "status" -d 'Ask the daemon that runs here what it knows: what is offered, how it is, and who holds it'
complete -c chandler -n "__fish_chandler_needs_command" -f -a "explain" -d 'Say of one thing what each resource makes of it: who takes it, or what it lacks'
complete -c chandler -n "__fish_chandler_needs_command" -f -a "cordon" -d 'Take a device out of use, without touching the hardware, until it is uncordoned'
complete -c chandler -n "__fish_chandler_needs_command" -f -a "inject" -d 'Have a device taken for ill or degraded for a while, to see what others do about it; nothing is wrong with it'
complete -c chandler -n "__fish_chandler_needs_command" -f -a "uncordon" -d 'Let a device be used again that is cordoned, or that the daemon holds unhealthy'
complete -c chandler -n "__fish_chandler_needs_command" -f -a "doctor" -d 'Look at this node: what is missing for devices to be offered, why it matters, and what mends it; exit with 1 if something is'
complete -c chandler -n "__fish_chandler_needs_command" -f -a "forget" -d 'Take out of the list what was removed for good, where the kubelet cannot be asked who holds it'
complete -c chandler -n "__fish_chandler_needs_command" -f -a "probe" -d 'Ask plugins by their sockets whether they serve; exit with 1 if one does not'
complete -c chandler -n "__fish_chandler_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c chandler -n "__fish_chandler_using_subcommand run" -l config -d 'The configuration file' -r -F
complete -c chandler -n "__fish_chandler_using_subcommand run" -l host-root -d 'Read /sys, /dev and /proc below this directory' -r -F
complete -c chandler -n "__fish_chandler_using_subcommand run" -l kubelet-dir -d 'The directory of kubelet.sock and the plugins\' sockets [default: kubelet.pluginDir of the configuration]' -r -F
complete -c chandler -n "__fish_chandler_using_subcommand run" -l log -d 'What is logged: error, warn, info, debug or trace, also by module' -r
complete -c chandler -n "__fish_chandler_using_subcommand run" -l log-format -d 'How it is logged' -r -f -a "text\t'For people and for the journal'
json\t'For programs: an object a line'"
complete -c chandler -n "__fish_chandler_using_subcommand run" -l state-dir -d 'What must survive a restart' -r -F
complete -c chandler -n "__fish_chandler_using_subcommand run" -l runtime-dir -d 'Where the daemon has the socket on which it is asked for its status' -r -F
complete -c chandler -n "__fish_chandler_using_subcommand run" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chandler -n "__fish_chandler_using_subcommand check" -l config -d 'The configuration file' -r -F
complete -c chandler -n "__fish_chandler_using_subcommand check" -l host-root -d 'Read /sys, /dev and /proc below this directory' -r -F
complete -c chandler -n "__fish_chandler_using_subcommand check" -l kubelet-dir -d 'The directory of kubelet.sock and the plugins\' sockets [default: kubelet.pluginDir of the configuration]' -r -F
complete -c chandler -n "__fish_chandler_using_subcommand check" -l log -d 'What is logged: error, warn, info, debug or trace, also by module' -r
complete -c chandler -n "__fish_chandler_using_subcommand check" -l log-format -d 'How it is logged' -r -f -a "text\t'For people and for the journal'
json\t'For programs: an object a line'"
complete -c chandler -n "__fish_chandler_using_subcommand check" -l state-dir -d 'What must survive a restart' -r -F
complete -c chandler -n "__fish_chandler_using_subcommand check" -l runtime-dir -d 'Where the daemon has the socket on which it is asked for its status' -r -F
complete -c chandler -n "__fish_chandler_using_subcommand check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chandler -n "__fish_chandler_using_subcommand profiles" -l config -d 'The configuration file' -r -F
complete -c chandler -n "__fish_chandler_using_subcommand profiles" -l host-root -d 'Read /sys, /dev and /proc below this directory' -r -F
complete -c chandler -n "__fish_chandler_using_subcommand profiles" -l kubelet-dir -d 'The directory of kubelet.sock and the plugins\' sockets [default: kubelet.pluginDir of the configuration]' -r -F
complete -c chandler -n "__fish_chandler_using_subcommand profiles" -l log -d 'What is logged: error, warn, info, debug or trace, also by module' -r
complete -c chandler -n "__fish_chandler_using_subcommand profiles" -l log-format -d 'How it is logged' -r -f -a "text\t'For people and for the journal'
json\t'For programs: an object a line'"
complete -c chandler -n "__fish_chandler_using_subcommand profiles" -l state-dir -d 'What must survive a restart' -r -F
complete -c chandler -n "__fish_chandler_using_subcommand profiles" -l runtime-dir -d 'Where the daemon has the socket on which it is asked for its status' -r -F
complete -c chandler -n "__fish_chandler_using_subcommand profiles" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chandler -n "__fish_chandler_using_subcommand schema" -l config -d 'The configuration file' -r -F
complete -c chandler -n "__fish_chandler_using_subcommand schema" -l host-root -d 'Read /sys, /dev and /proc below this directory' -r -F
complete -c chandler -n "__fish_chandler_using_subcommand schema" -l kubelet-dir -d 'The directory of kubelet.sock and the plugins\' sockets [default: kubelet.pluginDir of the configuration]' -r -F
complete -c chandler -n "__fish_chandler_using_subcommand schema" -l log -d 'What is logged: error, warn, info, debug or trace, also by module' -r
complete -c chandler -n "__fish_chandler_using_subcommand schema" -l log-format -d 'How it is logged' -r -f -a "text\t'For people and for the journal'
json\t'For programs: an object a line'"
complete -c chandler -n "__fish_chandler_using_subcommand schema" -l state-dir -d 'What must survive a restart' -r -F
complete -c chandler -n "__fish_chandler_using_subcommand schema" -l runtime-dir -d 'Where the daemon has the socket on which it is asked for its status' -r -F
complete -c chandler -n "__fish_chandler_using_subcommand schema" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chandler -n "__fish_chandler_using_subcommand setup" -s o -l output -d 'The file to write, which must not exist or be as the package has it [default: standard output]' -r -F
complete -c chandler -n "__fish_chandler_using_subcommand setup" -l config -d 'The configuration file' -r -F
complete -c chandler -n "__fish_chandler_using_subcommand setup" -l host-root -d 'Read /sys, /dev and /proc below this directory' -r -F
complete -c chandler -n "__fish_chandler_using_subcommand setup" -l kubelet-dir -d 'The directory of kubelet.sock and the plugins\' sockets [default: kubelet.pluginDir of the configuration]' -r -F
complete -c chandler -n "__fish_chandler_using_subcommand setup" -l log -d 'What is logged: error, warn, info, debug or trace, also by module' -r
complete -c chandler -n "__fish_chandler_using_subcommand setup" -l log-format -d 'How it is logged' -r -f -a "text\t'For people and for the journal'
json\t'For programs: an object a line'"
complete -c chandler -n "__fish_chandler_using_subcommand setup" -l state-dir -d 'What must survive a restart' -r -F
complete -c chandler -n "__fish_chandler_using_subcommand setup" -l runtime-dir -d 'Where the daemon has the socket on which it is asked for its status' -r -F
complete -c chandler -n "__fish_chandler_using_subcommand setup" -l force -d 'Replace the file, whatever it says'
complete -c chandler -n "__fish_chandler_using_subcommand setup" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chandler -n "__fish_chandler_using_subcommand capture" -s o -l output -d 'The file to write, a tar archive, which must not exist' -r -F
complete -c chandler -n "__fish_chandler_using_subcommand capture" -l config -d 'The configuration file' -r -F
complete -c chandler -n "__fish_chandler_using_subcommand capture" -l host-root -d 'Read /sys, /dev and /proc below this directory' -r -F
complete -c chandler -n "__fish_chandler_using_subcommand capture" -l kubelet-dir -d 'The directory of kubelet.sock and the plugins\' sockets [default: kubelet.pluginDir of the configuration]' -r -F
complete -c chandler -n "__fish_chandler_using_subcommand capture" -l log -d 'What is logged: error, warn, info, debug or trace, also by module' -r
complete -c chandler -n "__fish_chandler_using_subcommand capture" -l log-format -d 'How it is logged' -r -f -a "text\t'For people and for the journal'
json\t'For programs: an object a line'"
complete -c chandler -n "__fish_chandler_using_subcommand capture" -l state-dir -d 'What must survive a restart' -r -F
complete -c chandler -n "__fish_chandler_using_subcommand capture" -l runtime-dir -d 'Where the daemon has the socket on which it is asked for its status' -r -F
complete -c chandler -n "__fish_chandler_using_subcommand capture" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chandler -n "__fish_chandler_using_subcommand discover" -s o -l output -d 'How it is shown' -r -f -a "table\t'For people'
json\t'For programs'"
complete -c chandler -n "__fish_chandler_using_subcommand discover" -l config -d 'The configuration file' -r -F
complete -c chandler -n "__fish_chandler_using_subcommand discover" -l host-root -d 'Read /sys, /dev and /proc below this directory' -r -F
complete -c chandler -n "__fish_chandler_using_subcommand discover" -l kubelet-dir -d 'The directory of kubelet.sock and the plugins\' sockets [default: kubelet.pluginDir of the configuration]' -r -F
complete -c chandler -n "__fish_chandler_using_subcommand discover" -l log -d 'What is logged: error, warn, info, debug or trace, also by module' -r
complete -c chandler -n "__fish_chandler_using_subcommand discover" -l log-format -d 'How it is logged' -r -f -a "text\t'For people and for the journal'
json\t'For programs: an object a line'"
complete -c chandler -n "__fish_chandler_using_subcommand discover" -l state-dir -d 'What must survive a restart' -r -F
complete -c chandler -n "__fish_chandler_using_subcommand discover" -l runtime-dir -d 'Where the daemon has the socket on which it is asked for its status' -r -F
complete -c chandler -n "__fish_chandler_using_subcommand discover" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chandler -n "__fish_chandler_using_subcommand status" -s o -l output -d 'How it is shown' -r -f -a "table\t'For people'
json\t'For programs'
html\t'A page with a picture of the machine'"
complete -c chandler -n "__fish_chandler_using_subcommand status" -l textfile -d 'Write the metrics into this file, for the textfile collector of node_exporter' -r -F
complete -c chandler -n "__fish_chandler_using_subcommand status" -l config -d 'The configuration file' -r -F
complete -c chandler -n "__fish_chandler_using_subcommand status" -l host-root -d 'Read /sys, /dev and /proc below this directory' -r -F
complete -c chandler -n "__fish_chandler_using_subcommand status" -l kubelet-dir -d 'The directory of kubelet.sock and the plugins\' sockets [default: kubelet.pluginDir of the configuration]' -r -F
complete -c chandler -n "__fish_chandler_using_subcommand status" -l log -d 'What is logged: error, warn, info, debug or trace, also by module' -r
complete -c chandler -n "__fish_chandler_using_subcommand status" -l log-format -d 'How it is logged' -r -f -a "text\t'For people and for the journal'
json\t'For programs: an object a line'"
complete -c chandler -n "__fish_chandler_using_subcommand status" -l state-dir -d 'What must survive a restart' -r -F
complete -c chandler -n "__fish_chandler_using_subcommand status" -l runtime-dir -d 'Where the daemon has the socket on which it is asked for its status' -r -F
complete -c chandler -n "__fish_chandler_using_subcommand status" -l html -d 'The page of the node, to be opened in a browser: the same as `--output html`'
complete -c chandler -n "__fish_chandler_using_subcommand status" -s w -l watch -d 'Show it again each two seconds'
complete -c chandler -n "__fish_chandler_using_subcommand status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chandler -n "__fish_chandler_using_subcommand explain" -l config -d 'The configuration file' -r -F
complete -c chandler -n "__fish_chandler_using_subcommand explain" -l host-root -d 'Read /sys, /dev and /proc below this directory' -r -F
complete -c chandler -n "__fish_chandler_using_subcommand explain" -l kubelet-dir -d 'The directory of kubelet.sock and the plugins\' sockets [default: kubelet.pluginDir of the configuration]' -r -F
complete -c chandler -n "__fish_chandler_using_subcommand explain" -l log -d 'What is logged: error, warn, info, debug or trace, also by module' -r
complete -c chandler -n "__fish_chandler_using_subcommand explain" -l log-format -d 'How it is logged' -r -f -a "text\t'For people and for the journal'
json\t'For programs: an object a line'"
complete -c chandler -n "__fish_chandler_using_subcommand explain" -l state-dir -d 'What must survive a restart' -r -F
complete -c chandler -n "__fish_chandler_using_subcommand explain" -l runtime-dir -d 'Where the daemon has the socket on which it is asked for its status' -r -F
complete -c chandler -n "__fish_chandler_using_subcommand explain" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chandler -n "__fish_chandler_using_subcommand cordon" -l resource -d 'In this resource only' -r
complete -c chandler -n "__fish_chandler_using_subcommand cordon" -l reason -d 'Why; it is shown wherever the device is' -r
complete -c chandler -n "__fish_chandler_using_subcommand cordon" -l config -d 'The configuration file' -r -F
complete -c chandler -n "__fish_chandler_using_subcommand cordon" -l host-root -d 'Read /sys, /dev and /proc below this directory' -r -F
complete -c chandler -n "__fish_chandler_using_subcommand cordon" -l kubelet-dir -d 'The directory of kubelet.sock and the plugins\' sockets [default: kubelet.pluginDir of the configuration]' -r -F
complete -c chandler -n "__fish_chandler_using_subcommand cordon" -l log -d 'What is logged: error, warn, info, debug or trace, also by module' -r
complete -c chandler -n "__fish_chandler_using_subcommand cordon" -l log-format -d 'How it is logged' -r -f -a "text\t'For people and for the journal'
json\t'For programs: an object a line'"
complete -c chandler -n "__fish_chandler_using_subcommand cordon" -l state-dir -d 'What must survive a restart' -r -F
complete -c chandler -n "__fish_chandler_using_subcommand cordon" -l runtime-dir -d 'Where the daemon has the socket on which it is asked for its status' -r -F
complete -c chandler -n "__fish_chandler_using_subcommand cordon" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chandler -n "__fish_chandler_using_subcommand inject" -l reason -d 'Why; it is shown wherever the device is' -r
complete -c chandler -n "__fish_chandler_using_subcommand inject" -l action -d 'What would mend it' -r -f -a "reset\t''
reboot\t''
reseat\t''
replace\t''
support\t''
none\t''"
complete -c chandler -n "__fish_chandler_using_subcommand inject" -l for -d 'For how long, 1s to 24h' -r
complete -c chandler -n "__fish_chandler_using_subcommand inject" -l resource -d 'In this resource only' -r
complete -c chandler -n "__fish_chandler_using_subcommand inject" -l config -d 'The configuration file' -r -F
complete -c chandler -n "__fish_chandler_using_subcommand inject" -l host-root -d 'Read /sys, /dev and /proc below this directory' -r -F
complete -c chandler -n "__fish_chandler_using_subcommand inject" -l kubelet-dir -d 'The directory of kubelet.sock and the plugins\' sockets [default: kubelet.pluginDir of the configuration]' -r -F
complete -c chandler -n "__fish_chandler_using_subcommand inject" -l log -d 'What is logged: error, warn, info, debug or trace, also by module' -r
complete -c chandler -n "__fish_chandler_using_subcommand inject" -l log-format -d 'How it is logged' -r -f -a "text\t'For people and for the journal'
json\t'For programs: an object a line'"
complete -c chandler -n "__fish_chandler_using_subcommand inject" -l state-dir -d 'What must survive a restart' -r -F
complete -c chandler -n "__fish_chandler_using_subcommand inject" -l runtime-dir -d 'Where the daemon has the socket on which it is asked for its status' -r -F
complete -c chandler -n "__fish_chandler_using_subcommand inject" -l ill -d 'It is not offered meanwhile'
complete -c chandler -n "__fish_chandler_using_subcommand inject" -l degraded -d 'It is offered all the same, and shown as degraded'
complete -c chandler -n "__fish_chandler_using_subcommand inject" -l yes -d 'Also if a pod holds the device'
complete -c chandler -n "__fish_chandler_using_subcommand inject" -l end -d 'End what was injected before its time'
complete -c chandler -n "__fish_chandler_using_subcommand inject" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chandler -n "__fish_chandler_using_subcommand uncordon" -l resource -d 'In this resource only' -r
complete -c chandler -n "__fish_chandler_using_subcommand uncordon" -l config -d 'The configuration file' -r -F
complete -c chandler -n "__fish_chandler_using_subcommand uncordon" -l host-root -d 'Read /sys, /dev and /proc below this directory' -r -F
complete -c chandler -n "__fish_chandler_using_subcommand uncordon" -l kubelet-dir -d 'The directory of kubelet.sock and the plugins\' sockets [default: kubelet.pluginDir of the configuration]' -r -F
complete -c chandler -n "__fish_chandler_using_subcommand uncordon" -l log -d 'What is logged: error, warn, info, debug or trace, also by module' -r
complete -c chandler -n "__fish_chandler_using_subcommand uncordon" -l log-format -d 'How it is logged' -r -f -a "text\t'For people and for the journal'
json\t'For programs: an object a line'"
complete -c chandler -n "__fish_chandler_using_subcommand uncordon" -l state-dir -d 'What must survive a restart' -r -F
complete -c chandler -n "__fish_chandler_using_subcommand uncordon" -l runtime-dir -d 'Where the daemon has the socket on which it is asked for its status' -r -F
complete -c chandler -n "__fish_chandler_using_subcommand uncordon" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chandler -n "__fish_chandler_using_subcommand doctor" -s o -l output -d 'How it is shown' -r -f -a "table\t'For people'
json\t'For programs'"
complete -c chandler -n "__fish_chandler_using_subcommand doctor" -l config -d 'The configuration file' -r -F
complete -c chandler -n "__fish_chandler_using_subcommand doctor" -l host-root -d 'Read /sys, /dev and /proc below this directory' -r -F
complete -c chandler -n "__fish_chandler_using_subcommand doctor" -l kubelet-dir -d 'The directory of kubelet.sock and the plugins\' sockets [default: kubelet.pluginDir of the configuration]' -r -F
complete -c chandler -n "__fish_chandler_using_subcommand doctor" -l log -d 'What is logged: error, warn, info, debug or trace, also by module' -r
complete -c chandler -n "__fish_chandler_using_subcommand doctor" -l log-format -d 'How it is logged' -r -f -a "text\t'For people and for the journal'
json\t'For programs: an object a line'"
complete -c chandler -n "__fish_chandler_using_subcommand doctor" -l state-dir -d 'What must survive a restart' -r -F
complete -c chandler -n "__fish_chandler_using_subcommand doctor" -l runtime-dir -d 'Where the daemon has the socket on which it is asked for its status' -r -F
complete -c chandler -n "__fish_chandler_using_subcommand doctor" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chandler -n "__fish_chandler_using_subcommand forget" -l resource -d 'Of this resource only' -r
complete -c chandler -n "__fish_chandler_using_subcommand forget" -l config -d 'The configuration file' -r -F
complete -c chandler -n "__fish_chandler_using_subcommand forget" -l host-root -d 'Read /sys, /dev and /proc below this directory' -r -F
complete -c chandler -n "__fish_chandler_using_subcommand forget" -l kubelet-dir -d 'The directory of kubelet.sock and the plugins\' sockets [default: kubelet.pluginDir of the configuration]' -r -F
complete -c chandler -n "__fish_chandler_using_subcommand forget" -l log -d 'What is logged: error, warn, info, debug or trace, also by module' -r
complete -c chandler -n "__fish_chandler_using_subcommand forget" -l log-format -d 'How it is logged' -r -f -a "text\t'For people and for the journal'
json\t'For programs: an object a line'"
complete -c chandler -n "__fish_chandler_using_subcommand forget" -l state-dir -d 'What must survive a restart' -r -F
complete -c chandler -n "__fish_chandler_using_subcommand forget" -l runtime-dir -d 'Where the daemon has the socket on which it is asked for its status' -r -F
complete -c chandler -n "__fish_chandler_using_subcommand forget" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chandler -n "__fish_chandler_using_subcommand probe" -l config -d 'The configuration file' -r -F
complete -c chandler -n "__fish_chandler_using_subcommand probe" -l host-root -d 'Read /sys, /dev and /proc below this directory' -r -F
complete -c chandler -n "__fish_chandler_using_subcommand probe" -l kubelet-dir -d 'The directory of kubelet.sock and the plugins\' sockets [default: kubelet.pluginDir of the configuration]' -r -F
complete -c chandler -n "__fish_chandler_using_subcommand probe" -l log -d 'What is logged: error, warn, info, debug or trace, also by module' -r
complete -c chandler -n "__fish_chandler_using_subcommand probe" -l log-format -d 'How it is logged' -r -f -a "text\t'For people and for the journal'
json\t'For programs: an object a line'"
complete -c chandler -n "__fish_chandler_using_subcommand probe" -l state-dir -d 'What must survive a restart' -r -F
complete -c chandler -n "__fish_chandler_using_subcommand probe" -l runtime-dir -d 'Where the daemon has the socket on which it is asked for its status' -r -F
complete -c chandler -n "__fish_chandler_using_subcommand probe" -l live -d 'Ask only whether the sockets that are there answer, for a liveness check'
complete -c chandler -n "__fish_chandler_using_subcommand probe" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chandler -n "__fish_chandler_using_subcommand help; and not __fish_seen_subcommand_from run check profiles schema setup capture discover status explain cordon inject uncordon doctor forget probe help" -f -a "run" -d 'Find devices and offer them to the kubelet, until SIGTERM or SIGINT'
complete -c chandler -n "__fish_chandler_using_subcommand help; and not __fish_seen_subcommand_from run check profiles schema setup capture discover status explain cordon inject uncordon doctor forget probe help" -f -a "check" -d 'Check a configuration file and print what it means with all defaults filled in'
complete -c chandler -n "__fish_chandler_using_subcommand help; and not __fish_seen_subcommand_from run check profiles schema setup capture discover status explain cordon inject uncordon doctor forget probe help" -f -a "profiles" -d 'List the kinds of hardware that are known, which `profile` in a resource names'
complete -c chandler -n "__fish_chandler_using_subcommand help; and not __fish_seen_subcommand_from run check profiles schema setup capture discover status explain cordon inject uncordon doctor forget probe help" -f -a "schema" -d 'Print the JSON Schema of the configuration file, by which editors complete and check it'
complete -c chandler -n "__fish_chandler_using_subcommand help; and not __fish_seen_subcommand_from run check profiles schema setup capture discover status explain cordon inject uncordon doctor forget probe help" -f -a "setup" -d 'Write a configuration for this machine, with the hardware that is found and known'
complete -c chandler -n "__fish_chandler_using_subcommand help; and not __fish_seen_subcommand_from run check profiles schema setup capture discover status explain cordon inject uncordon doctor forget probe help" -f -a "capture" -d 'Write what is known of this machine\'s hardware into an archive, for a bug report; serial numbers in it are made up'
complete -c chandler -n "__fish_chandler_using_subcommand help; and not __fish_seen_subcommand_from run check profiles schema setup capture discover status explain cordon inject uncordon doctor forget probe help" -f -a "discover" -d 'Look once and show what would be offered, and what would not and why'
complete -c chandler -n "__fish_chandler_using_subcommand help; and not __fish_seen_subcommand_from run check profiles schema setup capture discover status explain cordon inject uncordon doctor forget probe help" -f -a "status" -d 'Ask the daemon that runs here what it knows: what is offered, how it is, and who holds it'
complete -c chandler -n "__fish_chandler_using_subcommand help; and not __fish_seen_subcommand_from run check profiles schema setup capture discover status explain cordon inject uncordon doctor forget probe help" -f -a "explain" -d 'Say of one thing what each resource makes of it: who takes it, or what it lacks'
complete -c chandler -n "__fish_chandler_using_subcommand help; and not __fish_seen_subcommand_from run check profiles schema setup capture discover status explain cordon inject uncordon doctor forget probe help" -f -a "cordon" -d 'Take a device out of use, without touching the hardware, until it is uncordoned'
complete -c chandler -n "__fish_chandler_using_subcommand help; and not __fish_seen_subcommand_from run check profiles schema setup capture discover status explain cordon inject uncordon doctor forget probe help" -f -a "inject" -d 'Have a device taken for ill or degraded for a while, to see what others do about it; nothing is wrong with it'
complete -c chandler -n "__fish_chandler_using_subcommand help; and not __fish_seen_subcommand_from run check profiles schema setup capture discover status explain cordon inject uncordon doctor forget probe help" -f -a "uncordon" -d 'Let a device be used again that is cordoned, or that the daemon holds unhealthy'
complete -c chandler -n "__fish_chandler_using_subcommand help; and not __fish_seen_subcommand_from run check profiles schema setup capture discover status explain cordon inject uncordon doctor forget probe help" -f -a "doctor" -d 'Look at this node: what is missing for devices to be offered, why it matters, and what mends it; exit with 1 if something is'
complete -c chandler -n "__fish_chandler_using_subcommand help; and not __fish_seen_subcommand_from run check profiles schema setup capture discover status explain cordon inject uncordon doctor forget probe help" -f -a "forget" -d 'Take out of the list what was removed for good, where the kubelet cannot be asked who holds it'
complete -c chandler -n "__fish_chandler_using_subcommand help; and not __fish_seen_subcommand_from run check profiles schema setup capture discover status explain cordon inject uncordon doctor forget probe help" -f -a "probe" -d 'Ask plugins by their sockets whether they serve; exit with 1 if one does not'
complete -c chandler -n "__fish_chandler_using_subcommand help; and not __fish_seen_subcommand_from run check profiles schema setup capture discover status explain cordon inject uncordon doctor forget probe help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
