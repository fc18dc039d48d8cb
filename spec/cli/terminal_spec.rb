# frozen_string_literal: true

require_relative "support"

RSpec.describe "stepwell in a terminal" do
  colour = Specs::CommandLine::COLOUR

  # Runs a command whose standard output a shell leads somewhere.
  def through(shell, *words)
    _, err, status = Open3.capture3({ "DATABASE_URL" => database_url }, "sh", "-c", shell, "sh",
                                    *Specs::CommandLine::PROGRAM, *words)
    [err, status.exitstatus]
  end

  before do
    define_single { |step| sleep(0.3) && step.context["bad"] && raise(Stepwell::PermanentError, "no") }
    start_stepwell
  end

  it "is coloured there, and nowhere else, unless somebody says otherwise" do
    Stepwell.submit("spec/single").wait(timeout: 20)

    expect(in_terminal("task", "list").out).to match(/\e\[32mcomplete\e\[0m/)
    expect(stepwell("task", "list").out).not_to match(colour)
    expect(stepwell("task", "list", "--color", "always").out).to match(/\e\[32mcomplete\e\[0m/)
    expect(in_terminal("task", "list", "--color", "never").out).not_to match(colour)
    expect(in_terminal("task", "list", env: { "NO_COLOR" => "1" }).out).not_to match(colour)
    expect(in_terminal("task", "list", env: { "TERM" => "dumb" }).out).not_to match(colour)
    expect(in_terminal("task", "show", "7").out).to match(/\e\[1m\e\[31merror:\e\[0m/)
    expect(in_terminal("task", "list", "--json").out).not_to match(colour)
  end

  it "shows a bar over the steps while it waits, and takes it away at the end" do
    ran = in_terminal("task", "submit", "spec/single", "--wait")
    expect(ran.code).to eq(0)
    expect(ran.out).to match(%r{spec/single .*0/1 }).and match(/steps are being executed/)
    expect(ran.out.split(/\r|\n/).last).to match(%r{spec/single is \e\[1m\e\[32mcomplete\e\[0m after})
    expect(in_terminal("task", "submit", "spec/single", "-c", '{"bad": true}', "-w").code).to eq(1)
  end

  it "draws the bar without colours when there shall be none" do
    ran = in_terminal("task", "submit", "spec/single", "--wait", "--color", "never")
    expect(ran.out).to match(%r{0/1 })
    expect(ran.out).not_to match(/\e\[[\d;]*[1-9]m/)
  end

  it "shows what could do something to a terminal escaped, in tables, lines and JSON" do
    evil = "\e]0;owned\a\e[2J\rfine\u202Etxt.exe\u009B1m"
    escaped = '\u001b]0;owned\u0007\u001b[2J\rfine\u202etxt.exe\u009b1m'
    define_single { |step| raise Stepwell::PermanentError, "refused #{step.context["evil"]}" }
    task = Stepwell.submit("spec/single", { evil: evil }, tags: [evil], correlation_id: evil).wait(timeout: 20)

    [%w[show], %w[watch]].each do |words|
      out = in_terminal("task", *words, task.id, columns: 2_000).out.gsub(/\e\[[\d;]*[a-zA-Z]/, "")
      expect(out).to include("refused #{escaped}")
      expect(out).not_to match(/\e\]|\a|\u202E|\u009B|\e\[2J/)
    end
    [["show", task.id], ["watch", task.id]].each do |words|
      out = stepwell("task", *words, "--json").out
      expect(out).to include("\\u").and(satisfy { |it| !it.match?(/[\e\a\r\u202E\u009B]/) })
    end
    expect(stepwell("task", "show", task.id, "--json").json).to include("tags" => [evil], "correlation_id" => evil)
  end

  it "fails when its output cannot be written, and ends quietly when nobody reads it", if: File.exist?("/dev/full") do
    Stepwell.submit("spec/single").wait(timeout: 20)
    commands = ["task list", "task list --json", "task submit spec/single", "queues", "queues --json", "config show",
                "check", "doctor", "migrate", "completions bash", "--help", "task --help", "--version", "work --help"]
    commands.map(&:split).each do |words|
      err, status = through('exec "$@" > /dev/full', *words)
      expect([words, status, err]).to match([words, 1, /standard output: No space left on device/])
      err, = through('{ "$@"; echo "ended with $?" >&2; } | true', *words)
      expect([words, err]).to eq([words, "ended with 0\n"])
    end
  end

  it "keeps tables within the terminal's width, and ids in one piece" do
    psql("insert into stepwell.dead_letters (queue, message, reason, buried_at) " \
         "values ('step_results', '[\"#{"long " * 30}\"]', '#{"no reason at all " * 9}', now())")
    lines = in_terminal("dead-letters", "list", columns: 70).out.gsub(colour, "").lines(chomp: true)
    psql("delete from stepwell.dead_letters")

    expect(lines.map(&:length).max).to be <= 70
    expect(lines.size).to be > 3
    expect(lines[1]).to match(/\A\d+ +step_results/)
  end
end
