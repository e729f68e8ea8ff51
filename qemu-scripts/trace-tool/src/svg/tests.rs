//! Pictures of a trace by hand, read back.

use super::*;
use crate::tests::{MM, right, trace};

fn picture(asked: Asked) -> Result<(String, Window), String> {
    let trace = trace(&right());
    let story = Story::of(&trace);
    let window = Window::choose(&trace, &story, &asked)?;
    draw(&trace, &story, &window).map(|svg| (svg, window))
}

fn around(text: &str) -> Asked {
    Asked { around: Some(text.into()), ..Asked::default() }
}

/// The values of an attribute in every element of a kind.
fn values<'a>(svg: &'a str, element: &str, attribute: &str) -> Vec<&'a str> {
    let of = |tag: &'a str| {
        tag.split_once(&format!(" {attribute}=\"")).map(|(_, rest)| rest.split('"').next().unwrap())
    };
    svg.split(&format!("<{element}")).skip(1).filter_map(of).collect()
}

#[test]
fn the_end_of_a_borrowed_mm_is_shown_unasked() {
    let (_, window) = picture(Asked::default()).unwrap();
    assert_eq!(window.why, "the end of mm3.1, freed 15.00 µs after its last user had gone");
}

#[test]
fn a_picture_has_the_borrow_the_call_and_the_life() {
    let (svg, _) = picture(Asked::default()).unwrap();
    let fills = values(&svg, "rect", "fill");
    let hatched = fills.iter().filter(|fill| fill.starts_with("url(#h")).count();
    assert_eq!(hatched, 2, "the borrow, and the legend's");
    let arrows = values(&svg, "line", "marker-end");
    assert_eq!(arrows.len(), 2 + 3, "sent, answered, and three of the legend");
    for title in [
        "CPU 1: mm3.1 borrowed: lazy until CPU 0 shoots at the last drop\n14.00 µs to 24.00 µs",
        "IPI from CPU 0 to CPU 1: shoot mm3.1\nsent 21.00 µs, taken 23.00 µs",
        "CPU 0 waits for its call: shoot mm3.1, 20.00 µs",
        "mm3.1 zombie, 1 CPU lazy, from 15.00 µs",
        "mm3.1 freed, 30.00 µs",
    ] {
        assert!(svg.contains(&format!("<title>{title}</title>")), "{title}");
    }
    assert_eq!(svg.matches("<title>mm3.1 dying, from ").count(), 1, "a piece ends where something changes");
    let parted = values(&svg, "line", "stroke").iter().filter(|ink| **ink == "#ffffff").count();
    assert!(parted > 0, "a piece of a life has an edge");
    assert!(svg.contains("@media print"), "a picture wider than paper is cut off");
    for words in ["last user gone", "shoot 1 CPU", "freed"] {
        assert!(svg.contains(&format!(">{words}</text>")), "{words}");
    }
}

#[test]
fn every_event_answers_to_the_pointer() {
    let (trace, (svg, _)) =
        (trace(&right()), picture(Asked { from: Some(0.0), ..Asked::default() }).unwrap());
    for event in &trace.events {
        let line = canvas::escape(trace.line(event).trim());
        assert!(svg.contains(&line), "{line}");
    }
    assert_eq!(svg.matches("<g").count(), svg.matches("</g>").count());
}

/// Where ticks lie over one another, the pointer finds one place that names all, or says how many it does not.
#[test]
fn events_at_one_place_answer_together() {
    let mut steps = right();
    let fault = (1, trace_format::Body::about(trace_format::Kind::Fault, MM));
    steps.splice(9..9, std::iter::repeat_n(fault, 3000));
    let trace = trace(&steps);
    let (story, asked) = (Story::of(&trace), Asked { from: Some(0.0), ..Asked::default() });
    let svg = draw(&trace, &story, &Window::choose(&trace, &story, &asked).unwrap()).unwrap();
    let (mut places, mut named, mut more) = (std::collections::HashSet::new(), 0, 0);
    for group in svg.split("<g><title>").filter(|group| group.contains("pointer-events=\"all\"")) {
        let (title, rest) = group.split_once("</title>").unwrap();
        assert!(places.insert(rest.split(" width").next().unwrap()), "{rest}");
        let unnamed =
            title.lines().find_map(|line| line.strip_prefix("and ")?.split(' ').next()?.parse().ok());
        more += unnamed.unwrap_or(0);
        let lines = title.lines().count() - usize::from(unnamed.is_some());
        assert_eq!(rest.matches("<line").count(), lines + unnamed.unwrap_or(0));
        named += lines;
    }
    assert!(more > 500 && named > 500, "{named} are named, {more} are not");
    assert_eq!(named + more, trace.events.len());
}

/// An arrow is thin and dashed: a wide line under everything else makes it easy to point at.
#[test]
fn an_arrow_answers_beside_its_line_too() {
    let (svg, _) = picture(Asked::default()).unwrap();
    let title = "<title>IPI from CPU 0 to CPU 1: shoot mm3.1";
    let places: Vec<_> = svg.match_indices(title).map(|(at, _)| at).collect();
    let (lane, unseen) = (svg.find("CPU 0</text>").unwrap(), svg.find("stroke-opacity=\"0\"").unwrap());
    assert!(places.len() == 2 && places[0] < unseen && unseen < lane && lane < places[1]);
}

/// The box of each text: left, right, base line.
fn boxes(svg: &str) -> Vec<(f64, f64, f64, &str)> {
    let number = |tag: &str, name: &str| -> f64 { values(tag, "text", name)[0].parse().unwrap() };
    let one = |at: (usize, &str)| {
        let tag = &svg[at.0..][..svg[at.0..].find("</text>").unwrap()];
        let (x, wide) = (
            number(tag, "x"),
            canvas::width(tag.rsplit('>').next().unwrap(), number(tag, "font-size")) * 0.9,
        );
        let left = match values(tag, "text", "text-anchor")[0] {
            "start" => x,
            "middle" => x - wide / 2.0,
            _ => x - wide,
        };
        (left, left + wide, number(tag, "y"), tag)
    };
    svg.match_indices("<text ").map(one).collect()
}

#[test]
fn no_words_overlap() {
    for asked in [Asked::default(), around("posted"), Asked { from: Some(0.0), ..Asked::default() }] {
        let (svg, _) = picture(asked).unwrap();
        let boxes = boxes(&svg);
        assert!(boxes.len() > 20);
        for (n, one) in boxes.iter().enumerate() {
            for other in &boxes[n + 1..] {
                let apart = one.1 <= other.0 || other.1 <= one.0 || (one.2 - other.2).abs() >= 9.0;
                assert!(apart, "{} and {}", one.3, other.3);
            }
        }
    }
}

#[test]
fn windows_are_found_by_an_event() {
    let why = |text| picture(around(text)).map(|(_, window)| window.why);
    assert_eq!(why("shoot").unwrap(), "the first shoot of mm3.1");
    assert_eq!(why("free:mm3.1").unwrap(), "the end of mm3.1, freed 15.00 µs after its last user had gone");
    assert_eq!(why("kick").unwrap_err(), "the trace has no event kick");
    assert_eq!(why("free:mm9.9").unwrap_err(), "the trace has no event free:mm9.9");
    assert_eq!(why("free:mm3"), why("free:mm3.1"));
    assert_eq!(why("free:3"), why("free:mm3.1"));
    assert_eq!(why("load:init_mm").unwrap(), "the first load of init_mm");
    assert_eq!(why("load:mm1"), why("load:init_mm"));
    assert_eq!(why("free:mm9").unwrap_err(), "the trace has no event free:mm9");
    assert!(why("free:nine").unwrap_err().starts_with("nine is no address space; they are written mm3.1"));
    assert_eq!(why("dance").unwrap_err(), "there is no event dance; kernel/trace/src/lib.rs lists them");
    let part = |from, to| {
        picture(Asked { from: Some(from), to: Some(to), around: None }).map(|(_, window)| window.to)
    };
    assert_eq!(part(0.0, 9.0).unwrap(), 9);
    assert_eq!(part(1.0, 0.5).unwrap_err(), "FROM is not before TO");
    assert_eq!(part(100.0, 200.0).unwrap_err(), "the window has no event");
}

#[test]
fn the_name_of_a_slot_is_that_of_the_last_mm_with_such_an_event() {
    let later = |kind| (0, trace_format::Body::about(kind, MM + (1 << 32)));
    let kinds = [trace_format::Kind::Created, trace_format::Kind::Zombie];
    let trace = trace(&[right(), kinds.map(later).to_vec()].concat());
    let story = Story::of(&trace);
    let why = |text| Window::choose(&trace, &story, &around(text)).unwrap().why;
    assert_eq!(why("shoot:mm3"), "the first shoot of mm3.1");
    assert_eq!(
        why("created:mm3"),
        "the first created of mm3.2 (2 in that slot have such an event; it is the last)"
    );
}

#[test]
fn colours_are_told_apart_and_grey_is_init_mm() {
    assert_ne!(canvas::colour(Some(0)), canvas::colour(Some(1)));
    assert_eq!(canvas::colour(None), canvas::GREY);
    let (svg, _) = picture(Asked::default()).unwrap();
    assert!(svg.contains(&format!("fill=\"{}\"", canvas::colour(Some(0)))), "{MM:#x}");
}

#[test]
fn a_long_end_is_shown_from_behind() {
    let mut steps = right();
    let zombie = steps.iter().position(|(_, body)| body.kind == trace_format::Kind::Zombie).unwrap();
    let fault = (1, trace_format::Body::about(trace_format::Kind::Fault, MM));
    steps.splice(zombie + 1..zombie + 1, std::iter::repeat_n(fault, 10_000));
    let trace = trace(&steps);
    let story = Story::of(&trace);
    let window = Window::choose(&trace, &story, &Asked::default()).unwrap();
    let shown = |event: &&crate::events::Event| event.record.time >= window.from;
    assert_eq!(trace.events.last().map(|event| event.record.time), Some(window.to));
    assert_eq!(trace.events.iter().filter(shown).count(), 4000);
    assert!(window.why.ends_with("(its last part)"));
    assert!(draw(&trace, &story, &window).is_ok());
}

/// Wherever the moments are, a stem passes no words.
#[test]
fn no_stem_crosses_words() {
    let mut random = 1_u64;
    for _ in 0..200 {
        let mut flags: Vec<flags::Flag> = (0..12)
            .map(|_| {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let (x, words) = ((random >> 33) as f64 % 900.0, "x".repeat((random >> 60) as usize + 3));
                flags::Flag {
                    x,
                    words,
                    rank: (random >> 40) as u8 % 5,
                    row: None,
                    title: String::new(),
                    mm: 0,
                }
            })
            .collect();
        flags.sort_by(|a, b| a.x.total_cmp(&b.x));
        let rows = flags::arrange(&mut flags);
        assert!(rows <= 5 && flags.iter().any(|flag| flag.row.is_some()));
        for (n, flag) in flags.iter().enumerate() {
            let end = flag.x + canvas::width(&flag.words, flags::SIZE);
            let mut under = flags[n + 1..].iter().filter(|other| other.x < end && other.row.is_some());
            assert!(flag.row.is_none() || under.all(|other| other.row < flag.row), "{flags:?}");
        }
    }
}
