use std::time::Duration;

use crate::decide::registration::tests::Story;

#[test]
fn a_stream_that_ended_with_a_predecessor_is_asked_for_after_a_moment() {
    for (stream_at, left_at, due_at) in
        [(5, 0, 25), (0, 0, 20), (0, 15, 20), (0, 30, 30), (0, 400, 400), (900, 0, 920)]
    {
        let mut it = Story::serving();
        it.pass(10_000);
        let began = it.now;
        let mut news = [(stream_at, false), (left_at, true)];
        news.sort_unstable();
        for (at, is_of_socket) in news {
            it.now = began + Duration::from_millis(at);
            match is_of_socket {
                true => it.it.predecessor_left(it.now),
                false => it.streaming(false),
            }
        }
        it.wait_until_due();
        assert_eq!(it.now - began, Duration::from_millis(due_at), "{stream_at} {left_at}");
        it.ends(1, Ok(()), true);
        it.expect_peace();
    }
}

#[test]
fn a_stream_that_ends_without_a_predecessor_is_given_the_second() {
    let mut it = Story::serving();
    it.pass(10_000);
    // Long enough ago to have nothing to do with it.
    it.it.predecessor_left(it.now);
    it.expect_peace();
    it.pass(1_000);
    it.streaming(false);
    assert_eq!(it.wait_until_due(), 1_000);
    it.ends(1, Ok(()), true);

    // It explains the end of a stream, and others within the second that a kubelet may take, and none later.
    it.pass(60_000);
    it.it.predecessor_left(it.now);
    it.streaming(false);
    assert_eq!(it.wait_until_due(), 20);
    it.ends(1, Ok(()), true);
    it.pass(1_000);
    it.streaming(false);
    assert_eq!(it.wait_until_due(), 1_000);
}

#[test]
fn a_kubelet_that_may_have_been_writing_a_list_is_registered_with_once_more() {
    let list: [fn(&mut Story); 2] = [|it| it.it.listed(it.now), |it| it.ends(1, Ok(()), true)];
    for list in list {
        let mut it = Story::serving();
        it.pass(10_000);
        list(&mut it);
        it.pass(999);
        it.streaming(false);
        it.it.predecessor_left(it.now);
        assert_eq!(it.wait_until_due(), 20);
        it.ends(1, Ok(()), false);
        it.streaming(true);
        assert_eq!(it.it.state(), "serving");

        assert_eq!(it.wait_until_due(), 1_000);
        it.ends(1, Ok(()), true);
        it.expect_peace();
    }
}

#[test]
fn a_stream_that_came_and_went_unseen_with_a_predecessor_is_asked_for_after_a_second() {
    for comes in [false, true] {
        let mut it = Story::new();
        it.expect_due();
        it.ends(1, Ok(()), false);
        it.it.predecessor_left(it.now);
        if comes {
            it.streaming(true);
            it.expect_peace();
        } else {
            assert_eq!(it.wait_until_due(), 1_000);
        }
    }
}

#[test]
fn an_early_registration_that_is_dropped_as_well_is_repeated_until_the_kubelet_has_noticed() {
    let mut it = Story::serving();
    it.pass(10_000);
    it.streaming(false);
    it.it.predecessor_left(it.now);
    let began = it.now;
    for wait in [20, 40, 80, 160, 320] {
        assert_eq!(it.wait_until_due(), wait);
        it.ends(1, Ok(()), true);
        it.pass(20);
        it.streaming(false);
    }
    // The next would be after the second that a kubelet may take.
    assert_eq!(it.wait_until_due(), 640);
    assert!(it.now - began > Duration::from_secs(1));
    it.ends(1, Ok(()), true);
    // Any of them may have been taken for what has ended, and would not be missed.
    assert_eq!(it.wait_until_due(), 1_000);
    it.ends(1, Ok(()), true);
    it.expect_peace();

    it.streaming(false);
    assert_eq!(it.wait_until_due(), 1_000, "another end has another reason");
}
