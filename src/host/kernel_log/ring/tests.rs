use std::sync::{Arc, Mutex};

use super::*;

/// A kernel that keeps so much of what it has said.
#[derive(Debug, Clone)]
struct Fake {
    said: Arc<Mutex<Vec<u8>>>,
    size: usize,
}

impl Fake {
    fn new(size: usize) -> Fake {
        Fake { said: Arc::default(), size }
    }

    fn says(&self, text: &str) {
        self.said.lock().unwrap().extend_from_slice(text.as_bytes());
    }

    fn says_many(&self, from: usize, n: usize) {
        (from..from + n).for_each(|it| self.says(&format!("<6>[{it:5}.000000] line\n")));
    }

    fn is_cleared(&self) {
        self.said.lock().unwrap().clear();
    }
}

impl Source for Fake {
    fn size(&self) -> io::Result<usize> {
        Ok(self.size / GROWTH)
    }

    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let said = self.said.lock().unwrap();
        let excess = said.len().saturating_sub(buffer.len().min(self.size));
        // Whole lines only.
        let is_begin = |at: &usize| *at == 0 || said[at - 1] == b'\n';
        let begin = (excess..=said.len()).find(is_begin).unwrap();
        let kept = &said[begin..];
        buffer[..kept.len()].copy_from_slice(kept);
        Ok(kept.len())
    }
}

/// All that is there is heeded.
fn open(kernel: &Fake) -> Ring {
    let mut ring = Ring::open(Box::new(kernel.clone())).unwrap();
    let text = ring.read_if_due().unwrap().text;
    ring.heeded(&text);
    ring
}

/// What is new, all of which is heeded, and whether something is missing.
fn news(ring: &mut Ring) -> (String, bool) {
    let Reading { text, has_gap } = ring.read().unwrap();
    ring.heeded(&text);
    (String::from_utf8(text).unwrap(), has_gap)
}

#[test]
fn what_comes_after_the_last_reading_is_new_whatever_has_the_same_time() {
    let kernel = Fake::new(1 << 20);
    kernel.says("<6>[    1.000001] old\n");
    let mut ring = open(&kernel);
    assert_eq!(news(&mut ring), (String::new(), false));
    // Lines of several processors may be in another order than their times.
    let new = "<3>[    1.000001] same time\n<3>[    1.000000] other processor\n<3>[    1.000001] same time\n";
    kernel.says(new);
    assert_eq!(news(&mut ring), (new.to_owned(), false));
    assert_eq!(news(&mut ring), (String::new(), false));
}

#[test]
fn the_first_line_of_an_empty_log_is_new_and_nothing_was_missed() {
    let kernel = Fake::new(1 << 20);
    let mut ring = open(&kernel);
    kernel.says("<6>[    0.000000] first\n");
    assert_eq!(news(&mut ring), ("<6>[    0.000000] first\n".to_owned(), false));
}

#[test]
fn a_burst_that_the_kernel_could_keep_is_read_to_its_first_line() {
    let kernel = Fake::new(1 << 20);
    kernel.says_many(0, 10);
    let mut ring = open(&kernel);
    let n = USUAL_LEN / 16;
    kernel.says_many(10, n);
    let (text, has_gap) = news(&mut ring);
    assert_eq!((text.lines().count(), has_gap), (n, false));
}

#[test]
fn what_the_kernel_could_not_keep_is_missed_and_said_and_what_it_kept_is_new() {
    let kernel = Fake::new(USUAL_LEN);
    kernel.says_many(0, 10);
    let mut ring = open(&kernel);
    kernel.says_many(10, 100_000);
    let (text, has_gap) = news(&mut ring);
    assert!(has_gap && text.len() <= USUAL_LEN && text.len() > USUAL_LEN - 100);
    assert!(text.ends_with("<6>[100009.000000] line\n"));
    kernel.says_many(100_010, 1);
    assert_eq!(news(&mut ring), ("<6>[100010.000000] line\n".to_owned(), false));
}

#[test]
fn a_log_that_somebody_clears_says_nothing_twice() {
    let kernel = Fake::new(1 << 20);
    kernel.says_many(0, 10);
    let mut ring = open(&kernel);
    kernel.is_cleared();
    assert_eq!(news(&mut ring), (String::new(), true));
    // As after a restart of the time stamps: what is old is there again.
    kernel.says_many(0, 12);
    let new = "<6>[   10.000000] line\n<6>[   11.000000] line\n";
    assert_eq!(news(&mut ring), (new.to_owned(), true));
    assert_eq!(news(&mut ring), (String::new(), false));
}

#[test]
fn everything_since_boot_is_new_at_first_and_after_a_rewind() {
    let kernel = Fake::new(1 << 20);
    kernel.says_many(0, 3);
    let mut ring = Ring::open(Box::new(kernel.clone())).unwrap();
    let (all, has_gap) = news(&mut ring);
    assert_eq!((all.lines().count(), has_gap), (3, false));
    kernel.says_many(3, 4);
    ring.rewind();
    let (all, has_gap) = news(&mut ring);
    assert_eq!((all.lines().count(), has_gap), (7, false));
}

#[test]
fn what_has_not_been_heeded_is_new_again() {
    let kernel = Fake::new(1 << 20);
    let mut ring = open(&kernel);
    kernel.says_many(0, 3);
    let text = ring.read().unwrap().text;
    ring.heeded(lines(&text).next().unwrap());
    assert_eq!(lines(&ring.read().unwrap().text).count(), 2);
}

#[test]
fn a_log_without_times_says_nothing_and_that_is_known() {
    let kernel = Fake::new(1 << 20);
    assert!(!open(&kernel).has_no_times());
    kernel.says("<6>a\n");
    assert!(open(&kernel).has_no_times());
    kernel.says_many(0, 1);
    assert!(!open(&kernel).has_no_times());
}

#[test]
fn the_log_is_read_once_a_second() {
    let kernel = Fake::new(1 << 20);
    let mut ring = open(&kernel);
    kernel.says_many(0, 3);
    assert_eq!(ring.read_if_due().unwrap(), Reading::default());
    ring.next_at = Deadline::after(Duration::ZERO);
    assert_eq!(lines(&ring.read_if_due().unwrap().text).count(), 3);
    assert!(ring.next_at().remaining() > INTERVAL / 2);
}

#[test]
fn a_line_of_the_kernel_is_understood_and_nothing_else_is() {
    let line = |since_boot_us, text: &str| {
        Some(KernelLine { sequence: 0, since_boot_us, text: text.to_owned() })
    };
    for (written, expected) in [
        ("<3>[    1.000002] NVRM: Xid\n", line(1_000_002, "NVRM: Xid")),
        ("<3>[123456.700000][T12345] [drm] a > b] c\n", line(123_456_700_000, "[drm] a > b] c")),
        ("<3>[    1.000002][    C1] gr\u{fc}n", line(1_000_002, "gr\u{fc}n")),
        ("<0>[    0.000000] \n", line(0, "")),
        // Of programs, which have every facility but the kernel's.
        ("<11>[    1.000002] NVRM: Xid\n", None),
        ("<12>[    1.000002] <3>[    1.000002] NVRM: Xid\n", None),
        ("<8191>[    1.000002] NVRM: Xid\n", None),
        // Of nobody.
        ("", None),
        ("\n", None),
        ("NVRM: Xid\n", None),
        ("<3>NVRM: Xid\n", None),
        ("<3>[    1] NVRM: Xid\n", None),
        ("<3>[    1.00002] NVRM: Xid\n", None),
        ("<3>[   +1.000002] NVRM: Xid\n", None),
        ("<3>[99999999999999999999.000002] a\n", None),
        ("<3>[18446744073709551615.000002] a\n", None),
        ("<-3>[    1.000002] NVRM: Xid\n", None),
        ("<3>[    1.000002]NVRM: Xid\n", None),
    ] {
        assert_eq!(parse(written.as_bytes()), expected, "{written:?}");
    }
}

#[test]
fn lines_of_one_record_are_told_from_others_and_joined() {
    let text = b"<3>[    1.000002] NVRM: The NVIDIA GPU 0000:04:00.0\n<3>[    1.000002] NVRM: has fallen off\n\
        <4>[    1.000002] other level\n<4>[    1.000003] other time\n<4>[    1.000003][    C1] other caller\n\
        nobody's\nnobody's";
    let records: Vec<&[u8]> = records(text).collect();
    assert_eq!(records.concat(), text);
    let whole = |it: &&[u8]| joined(lines(it).filter_map(parse).collect()).map(|it| it.text);
    let whole: Vec<Option<String>> = records.iter().map(whole).collect();
    let first = Some("NVRM: The NVIDIA GPU 0000:04:00.0\nNVRM: has fallen off".to_owned());
    assert_eq!(whole, [first, None, None, None, None, None]);
}
