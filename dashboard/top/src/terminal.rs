//! The terminal: what is read of it, what is written to it, and that it is left as it was.

use std::{
    io::{self, IsTerminal as _, Stdout, Write as _},
    panic,
    time::{Duration, Instant},
};

use crossterm::{
    cursor,
    event::{self, EventStream, KeyCode, KeyEventKind, KeyModifiers},
    execute,
    terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode},
};
use futures_util::StreamExt as _;
use ratatui::{Terminal, backend::CrosstermBackend};
use rustix::process::{Signal, getpid, kill_process};
use starling_service::clock;
use tokio::{
    signal::unix::{SignalKind, signal},
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep_until},
};

use crate::{
    draw::{Theme, draw},
    model::{Action, Event, Key, Model},
    older,
    source::{Arrival, Source},
};

/// How often the time is looked at, and with it whether what is shown has become old.
const CLOCK: Duration = Duration::from_millis(500);
/// Messages of one second come within some tenths of it: they are drawn together, at most four times a second.
const GATHER: Duration = Duration::from_millis(250);

/// Shows it until somebody quits, or a signal ends it. Gives the exit code: 0, or 128 and the number of the signal.
///
/// # Errors
/// Why it cannot be shown: no terminal, or one that fails.
pub async fn run(source: Source) -> Result<u8, String> {
    let theme = Theme::new(std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()));
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return Err("standard input and output must be a terminal; for scripts there is `starling status`".to_owned());
    }
    if std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb") {
        return Err(
            "this terminal cannot place a cursor (TERM is not set, or dumb); for it there is `starling status`"
                .to_owned(),
        );
    }
    let failed = |error: io::Error| format!("the terminal fails: {error}");
    restored_on_panic();
    let mut screen = Screen::enter().map_err(failed)?;
    let ended = follow(&mut screen, source, theme).await.map_err(failed);
    drop(screen);
    ended
}

/// A terminal that shows us, and is left as it was when this is dropped.
struct Screen(Terminal<CrosstermBackend<Stdout>>);

impl Screen {
    fn enter() -> io::Result<Self> {
        show()?;
        match Terminal::new(CrosstermBackend::new(io::stdout())) {
            Ok(terminal) => Ok(Self(terminal)),
            Err(error) => {
                restore();
                Err(error)
            }
        }
    }

    /// Gives the terminal back until the shell goes on with us.
    fn suspend(&mut self) -> io::Result<()> {
        restore();
        // Ends before it returns: the process is stopped here, and goes on here.
        kill_process(getpid(), Signal::STOP)?;
        show()?;
        // The screen is empty, and so is what a new one knows of it. To clear the old one would ask the terminal where its cursor is.
        self.0 = Terminal::new(CrosstermBackend::new(io::stdout()))?;
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

fn show() -> io::Result<()> {
    enable_raw_mode()?;
    execute!(io::stdout(), EnterAlternateScreen, cursor::Hide).inspect_err(|_| restore())
}

/// Nothing can be done about what fails here.
fn restore() {
    let _ = execute!(io::stdout(), LeaveAlternateScreen, cursor::Show);
    let _ = disable_raw_mode();
    let _ = io::stdout().flush();
}

/// A panic is read on a terminal that is as it was.
fn restored_on_panic() {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        restore();
        usual(info);
    }));
}

/// What ends us from outside.
const SIGNALS: [(SignalKind, u8); 3] =
    [(SignalKind::hangup(), 129), (SignalKind::interrupt(), 130), (SignalKind::terminate(), 143)];

async fn follow(screen: &mut Screen, mut source: Source, theme: Theme) -> io::Result<u8> {
    let mut model = Model::default();
    let mut keys = EventStream::new();
    let mut signals = Vec::new();
    for (kind, code) in SIGNALS {
        signals.push((signal(kind)?, code));
    }
    let began = Instant::now();
    let mut time = interval(CLOCK);
    time.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let now = || Event::Clock { monotonic_ms: clock::millis(began.elapsed()), unix_ms: clock::unix_ms() };
    model.apply(now());
    let size = screen.0.size()?;
    model.apply(Event::Size(size.width, size.height));
    // When what came is drawn; `None` while all is drawn.
    let mut due: Option<tokio::time::Instant> = Some(tokio::time::Instant::now());
    // The question about hours or days that is under way: one at a time, the newest.
    let mut asked: JoinSet<Result<older::Older, String>> = JoinSet::new();
    loop {
        let [hangup, interrupt, terminate] = &mut signals[..] else { return Ok(1) };
        let (event, wait) = tokio::select! {
            biased;
            _ = hangup.0.recv() => return Ok(hangup.1),
            _ = interrupt.0.recv() => return Ok(interrupt.1),
            _ = terminate.0.recv() => return Ok(terminate.1),
            () = sleep_until(due.unwrap_or_else(tokio::time::Instant::now)), if due.is_some() => {
                due = None;
                screen.0.draw(|frame| draw(frame, &model, theme))?;
                continue;
            }
            event = keys.next() => match event {
                None => return Ok(1),
                Some(event) => match event_of(&event?) {
                    Some(event) => (event, Duration::ZERO),
                    None => continue,
                },
            },
            arrival = source.next() => {
                model.cluster = source.cluster();
                (match arrival {
                    Arrival::Message(body) => Event::Arrived(body),
                    Arrival::Lost(why) => Event::Lost(why),
                }, GATHER)
            }
            Some(answer) = asked.join_next() => match answer {
                Ok(answer) => (Event::Older(answer), Duration::ZERO),
                // It was ended for a newer one.
                Err(_) => continue,
            },
            _ = time.tick() => (now(), GATHER),
        };
        for action in model.apply(event) {
            match action {
                Action::Send(body) => source.send(body),
                Action::Ask(range) => {
                    asked.abort_all();
                    match source.upstream() {
                        Some(channel) => drop(asked.spawn(older::ask(channel, range))),
                        None => {
                            let why =
                                "hours and days are asked of an aggregator, and none is reached by gRPC".to_owned();
                            model.apply(Event::Older(Err(why)));
                        }
                    }
                }
                Action::Suspend => screen.suspend()?,
                Action::Quit => return Ok(0),
            }
        }
        let wanted = tokio::time::Instant::now() + wait;
        due = Some(due.map_or(wanted, |due| due.min(wanted)));
    }
}

/// What a key or a new size means.
fn event_of(event: &event::Event) -> Option<Event> {
    match event {
        event::Event::Resize(columns, lines) => Some(Event::Size(*columns, *lines)),
        event::Event::Key(key) if key.kind != KeyEventKind::Release => {
            let control = key.modifiers.contains(KeyModifiers::CONTROL);
            let key = match key.code {
                KeyCode::Char(character) if control => Key::Control(character.to_ascii_lowercase()),
                KeyCode::Char(character) => Key::Char(character),
                KeyCode::Up => Key::Up,
                KeyCode::Down => Key::Down,
                KeyCode::Left => Key::Left,
                KeyCode::Right => Key::Right,
                KeyCode::PageUp => Key::PageUp,
                KeyCode::PageDown => Key::PageDown,
                KeyCode::Home => Key::Home,
                KeyCode::End => Key::End,
                KeyCode::Enter => Key::Enter,
                KeyCode::Esc => Key::Escape,
                KeyCode::Tab => Key::Tab,
                KeyCode::BackTab => Key::BackTab,
                KeyCode::Backspace => Key::Backspace,
                _ => return None,
            };
            Some(Event::Key(key))
        }
        _ => None,
    }
}
