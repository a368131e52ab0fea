"""Build what a guest boots from: a Debian kernel with its modules, an initramfs,
and on request modules that Debian leaves out and a Debian root file system."""
import glob, os, re, shutil, stat, subprocess, tempfile, zlib

from presets import EXTRA

HERE = os.path.dirname(os.path.realpath(__file__))
KERNEL = "linux-image-6.12"          # with "-amd64" or so, depends on the newest 6.12 kernel
EARLY = ["9p", "9pnet_virtio", "virtio_blk", "crc32c_generic", "ext4"]   # kept in the initramfs
CC = {"amd64": "gcc", "arm64": "aarch64-linux-gnu-gcc"}
FULL = "systemd-sysv,udev,kmod"      # beside what every Debian has; a change makes another image


class Failed(Exception):
    pass


class GuestFailed(Failed):
    """The guest, or QEMU, did not do what it was told. That says nothing of a program that is tried in it."""


def cache(arch):
    top = os.environ.get("LAB_CACHE") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "chandler", "lab")
    return os.path.join(os.path.abspath(top), arch)


def call(*cmd, **kw):
    done = subprocess.run(cmd, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **kw)
    if done.returncode:
        raise Failed(f"{' '.join(cmd)}: exit code {done.returncode}\n{done.stdout}")
    return done.stdout


def foreign(top, arch):
    """apt for another architecture, with lists of its own: this machine's apt is left as it is."""
    os.makedirs(top + "/apt/lists", exist_ok=True)
    with open(top + "/apt.conf", "w") as f:
        f.write(f'APT::Architectures {{ "amd64"; "{arch}"; }};\nDir::State::lists "{top}/apt/lists";\nDir::Cache "{top}/apt";\n'
                'APT::Sandbox::User "root";\n')
    env = {**os.environ, "APT_CONFIG": top + "/apt.conf"}
    call("apt-get", "update", "-qq", env=env)
    return env


def fetch(packages, into, where, env=None):
    """Download Debian packages with apt and unpack them into a directory."""
    os.makedirs(where, exist_ok=True)
    call("apt-get", "download", *packages, cwd=where, env=env)
    for p in packages:
        deb = max(glob.glob(f"{where}/{p.split(':')[0]}_*.deb"), key=os.path.getmtime)
        call("dpkg-deb", "-x", deb, into)


def cpio(entries):
    """An initramfs archive (newc) of (name, mode, bytes)."""
    out = bytearray()
    for ino, (name, mode, data) in enumerate(list(entries) + [("TRAILER!!!", 0, b"")]):
        n = name.encode() + b"\0"
        out += b"070701" + b"".join(b"%08x" % v for v in (
            ino, mode, 0, 0, 1, 0, len(data), 0, 0, 5 if stat.S_ISCHR(mode) else 0, 1 if stat.S_ISCHR(mode) else 0, len(n), 0)) + n
        out += b"\0" * (-len(out) % 4) + data
        out += b"\0" * (-len(out) % 4)
    return bytes(out)


def modules_dir(top):
    found = glob.glob(top + "/kernel/lib/modules/*")
    if not found:
        raise Failed("nothing built yet: run 'lab build'")
    return found[0]


def initramfs(top):
    mods, dirs, files = modules_dir(top), set(), {}
    dep = dict(l.rstrip("\n").split(":", 1) for l in open(mods + "/modules.dep"))
    byname = {re.sub(r"\.ko.*", "", os.path.basename(p)).replace("-", "_"): p for p in dep}
    prefix = "lib/modules/" + os.path.basename(mods)
    for m in [m for m in EARLY if m in byname]:                 # the others are built in
        for p in [byname[m]] + dep[byname[m]].split():
            files[f"{prefix}/{p}"] = (0o644, open(f"{mods}/{p}", "rb").read())
    keep = {k[len(prefix) + 1:] for k in files}
    files[prefix + "/modules.dep"] = (0o644, "".join(f"{p}:{dep[p]}\n" for p in dep if p in keep).encode())
    files["bin/busybox"] = (0o755, open(top + "/tools/bin/busybox", "rb").read())
    for f in [HERE + "/guest/" + n for n in ("init", "agent", "uevent-line", "slot-off")] + glob.glob(top + "/bin/*"):
        name = os.path.basename(f)
        files["init" if name == "init" else "lab/" + name] = (0o755, open(f, "rb").read())
    for name in files:
        while "/" in name:
            name = name.rsplit("/", 1)[0]
            dirs.add(name)
    entries = [(d, 0o40755, b"") for d in sorted(dirs | {"dev"})] + [("dev/console", 0o20600, b"")]
    with open(top + "/initramfs", "wb") as f:
        f.write(cpio(entries + [(n, 0o100000 | m, d) for n, (m, d) in files.items()]))


def build_extra(top, image, debs):
    ver = image.replace("linux-image-", "", 1)
    base = ver.rsplit("-", 1)[0]
    major = "linux-source-" + ".".join(base.split(".")[:2])
    h, src = top + "/headers", top + "/source"
    for d in (h, src):
        shutil.rmtree(d, ignore_errors=True)
    fetch([f"linux-headers-{ver}", f"linux-headers-{base}-common", f"linux-kbuild-{base}"], h, debs)
    fetch([major], src, debs)
    kdir = kernel_headers(top)
    write(kdir + "/Makefile", read(kdir + "/Makefile").replace("/usr/src/", h + "/usr/src/"))
    os.unlink(kdir + "/vmlinux")                                # else pahole would be needed
    modules(top)


def kernel_headers(top):
    return f"{top}/headers/usr/src/linux-headers-{os.path.basename(modules_dir(top))}"


def modules(top):
    """Makes the modules that Debian does not have: those of the kernel's tree if that was not done yet, and those of ours."""
    todo = [(name, *it) for name, it in EXTRA.items() if not it[0] or read(f"{top}/source/{name}/Kbuild") != it[1] + "\n"]
    tar = glob.glob(top + "/source/usr/src/linux-source-*.tar.xz")[0]
    tree = os.path.basename(tar)[:-len(".tar.xz")]
    wanted = [f"{tree}/{p}" for _, paths, _ in todo for p in paths]
    if wanted:
        call("tar", "-C", os.path.dirname(tar), "-xf", tar, "--wildcards", *wanted)
    for name, paths, kbuild in todo:
        work = f"{top}/source/{name}"
        shutil.rmtree(work, ignore_errors=True)
        os.makedirs(work)
        sources = [f"{os.path.dirname(tar)}/{tree}/{p}" for p in paths] or [HERE + "/module/*.c"]
        for f in [f for p in sources for f in glob.glob(p)]:
            text = read(f)
            if f.endswith("irq_sim.c"):                         # built in elsewhere; here a module of its own
                text = re.sub(r"irq_to_desc\((\w+)\)", r"irq_data_to_desc(irq_get_irq_data(\1))", text) + '\nMODULE_LICENSE("GPL");\n'
            if f.endswith("dfl-afu-main.c"):                         # the card is memory, in which a program acknowledges resets
                text = text.replace("#define RST_POLL_TIMEOUT 1000 ", "#define RST_POLL_TIMEOUT 5000000 ")
            write(f"{work}/{os.path.basename(f)}", text)
        write(work + "/Kbuild", kbuild + "\n")
        try:
            call("make", "-s", "-C", kernel_headers(top), "M=" + work, "modules")
        except Failed:
            os.unlink(work + "/Kbuild")                         # or it would be taken for made
            raise
        os.makedirs(modules_dir(top) + "/extra", exist_ok=True)
        for ko in glob.glob(work + "/*.ko"):
            shutil.copy(ko, modules_dir(top) + "/extra")


def read(path):
    """The text of a file; nothing if there is none."""
    if not os.path.isfile(path):
        return ""
    with open(path) as f:
        return f.read()


def write(path, text):
    with open(path, "w") as f:
        f.write(text)


def programs(top, cc):
    """Makes the programs of the guest, and the initramfs with them."""
    os.makedirs(top + "/bin", exist_ok=True)
    for src in glob.glob(HERE + "/guest/*.c") if shutil.which(cc) else []:
        call(cc, "-static", "-O1", "-o", f"{top}/bin/{os.path.basename(src)[:-2]}", src)
    initramfs(top)


def stamp(top):
    """A file that says that what we add to Debian's kernel was made from the sources that are here now."""
    sources = b"".join(open(f, "rb").read() for f in sorted(glob.glob(HERE + "/module/*.c") + glob.glob(HERE + "/guest/*")))
    return f"{top}/own-{zlib.crc32(sources + repr(EXTRA).encode()):08x}"


def refresh(top):
    """Makes modules and programs of the guest anew if their source is another than what they were made from."""
    if os.path.exists(stamp(top)):
        return
    modules(top)
    index(top)
    programs(top, CC["amd64"])
    open(stamp(top), "w").close()


def index(top):
    call(shutil.which("depmod") or "/sbin/depmod", "-b", top + "/kernel", os.path.basename(modules_dir(top)))


def build(kernel, full, extra, arch):
    top, suffix = cache(arch), "" if arch == "amd64" else ":" + arch
    debs = top + "/debs"
    if suffix and (full or extra):
        raise Failed("--full and --extra are for amd64 only")
    env = foreign(top, arch) if suffix else None
    package = re.search(r"Depends: (linux-image-[^\s:]+)", call("apt-cache", "depends", f"{kernel}-{arch}{suffix}", env=env))
    package = package.group(1) if package else f"{kernel}-{arch}"
    shutil.rmtree(top + "/kernel", ignore_errors=True)
    fetch([package + suffix], top + "/kernel", debs, env)
    fetch(["busybox-static" + suffix], top + "/tools", debs, env)
    if extra:
        build_extra(top, package, debs)
    mods = modules_dir(top)
    call("sh", "-c", "find . -name '*.ko.xz' -print0 | xargs -0 -r xz -d", cwd=mods)
    index(top)
    programs(top, CC[arch])
    if extra:
        open(stamp(top), "w").close()
    if full:
        debian(top)
    print("built", os.path.basename(mods), "in", top)


def image(top):
    return f"{top}/root-{zlib.crc32(FULL.encode()):08x}.img"


def debian(top):
    """Make the root file system of the Debian guest: that of this machine's release."""
    tar, new = top + "/root.tar", image(top) + ".new"
    call("mmdebstrap", "--quiet", "--variant=minbase", "--include=" + FULL, "--customize-hook=chroot $1 passwd -d root",
         "--customize-hook=echo lab >$1/etc/hostname", "--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*",
         "--dpkgopt=path-exclude=/usr/share/locale/*", call("sh", "-c", ". /etc/os-release; echo -n $VERSION_CODENAME"), tar)
    with tempfile.TemporaryDirectory(dir=top) as d:
        call("tar", "-C", d, "-xf", tar, "--exclude=./dev/*")
        call("truncate", "-s", "1G", new)
        call("mke2fs", "-q", "-F", "-t", "ext4", "-d", d, new)
    os.unlink(tar)
    os.rename(new, image(top))
