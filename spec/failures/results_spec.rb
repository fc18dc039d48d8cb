# frozen_string_literal: true

require "spec_helper"

RSpec.describe "a step's result" do
  def run_single(**options, &block)
    define_single(**options, &block)
    start_stepwell
    Stepwell.submit("spec/single").wait(timeout: 30)
  end

  recursive_array = []
  recursive_array << recursive_array
  recursive_hash = {}
  recursive_hash["self"] = recursive_hash
  deep = ->(levels) { (1..levels).inject(1) { |inner, _| [inner] } }

  { "NaN" => [Float::NAN, "the result is not JSON: NaN"],
    "an infinite number" => [{ a: [1, -Float::INFINITY] }, "the result is not JSON: -Infinity at result[:a][1]"],
    "an object" => [Object.new, /\Athe result is not JSON: a Object \(give a String, Integer, Float/],
    "a Time" => [{ "at" => Time.at(0) }, /\Athe result is not JSON: a Time at result\["at"\] \(give/],
    "a BigDecimal" => [[BigDecimal("1.5")], /a BigDecimal at result\[0\] \(give/],
    "a key that is no text" => [{ "a" => { 7 => 1 } },
                                /\Athe result is not JSON: the key 7 at result\["a"\] is a In/],
    "an array in itself" => [recursive_array, /nested more than 100 deep, or contains itself/],
    "a hash in itself" => [recursive_hash, /nested more than 100 deep, or contains itself/],
    "101 arrays in each other" => [deep.call(101), /nested more than 100 deep/],
    "text that is not UTF-8" => [["a\xFF"], "the result is not JSON: a String that is not UTF-8 at result[0] " \
                                            "(its encoding is UTF-8)"],
    "a key that is not UTF-8" => [{ "a\xFF" => 1 }, "the result is not JSON: the key \"a\\xFF\" is not UTF-8 " \
                                                    "(its encoding is UTF-8)"],
    "binary data" => ["\xFF\x00".b, "the result is not JSON: a String that is not UTF-8 (its encoding is ASCII-8BIT)"],
    "binary data far below" => [{ "a" => [1, 2, 3, "\xFF\xFE".b] },
                                /not UTF-8 at result\["a"\]\[3\] \(its encoding is ASCII-8BIT\)/],
    "a symbol of bytes" => [[1, "\xFF".b.to_sym], "the result is not JSON: a Symbol that is not UTF-8 at result[1] " \
                                                  "(its encoding is ASCII-8BIT)"],
    "a symbol of bytes as a key" => [{ "\xFF".b.to_sym => 1 }, /\Athe result is not JSON: the key .* is not UTF-8/],
    "half a character of UTF-16" => [["\xD8".dup.force_encoding("UTF-16BE")], /at result\[0\] .* UTF-16BE/],
    "a NUL character" => [{ "text" => "a\u0000b" }, /\Athe result cannot be stored as jsonb: .*\\u0000/],
    "a NUL character in a key" => [{ "a\u0000" => 1 }, /\Athe result cannot be stored as jsonb: .*\\u0000/],
    "a number beyond PostgreSQL's" => [10**131_073, /\Athe result cannot be stored as jsonb: /] }
    .each do |what, (result, message)|
      it "with #{what} is refused for good, and says why" do
        task = run_single(max_attempts: 3) { |_| result }

        expect(task.state).to be(:error)
        expect(executed(task)).to eq(["only"])
        expect(task.steps[0].error).to include("kind" => "permanent", "class" => "Stepwell::PermanentError",
                                               "code" => "INVALID_RESULT", "message" => message)
        define_single("after") { |_| 1 }
        expect(Stepwell.submit("spec/after").wait(timeout: 30).state).to be(:complete)
      end
    end

  it "that is refused does not take the others of its report with it" do
    define_single(max_attempts: 1) { |step| step.context["n"].odd? ? "\u0000" : step.context["n"] }
    start_stepwell
    tasks = Stepwell.submit_all(Array.new(100) { |n| { workflow: "spec/single", context: { n: n } } })
    Stepwell.wait_all(tasks, timeout: 30)

    tasks.each_slice(2).with_index do |(even, odd), index|
      expect(even).to have_attributes(state: :complete, results: { "only" => index * 2 })
      expect(odd).to have_attributes(state: :error, error: /cannot be stored as jsonb/)
    end
    expect(psql("select count(*) from stepwell.dead_letters")).to eq("0")
  end

  it "can be every kind of JSON value, and arrives at the next step and the client as it was" do
    values = [nil, true, false, 0, -1, 2**64, -(2**300), 1.5, -0.1, 1e-300, 1e14, "", "ü\u{1F600}\n\"\\/", "\\u0000",
              [], {}, [[[]]], { "" => nil, "a.b" => [1, { "c" => nil }] }, "x" * 1_000_000, deep.call(100)]
    one = handler { |step| values[step.context["n"]] }
    two = handler(&:results)
    Stepwell.workflow("spec/values") do
      step :one, one
      step :two, two, depends_on: :one
    end
    start_stepwell
    values.pop # what is 100 deep is 101 deep in the second step's result
    requests = values.each_index.map { |n| { workflow: "spec/values", context: { n: n } } }
    tasks = Stepwell.wait_all(Stepwell.submit_all(requests), timeout: 30)

    values.zip(tasks) { |value, task| expect(task.results).to eq("one" => value, "two" => { "one" => value }) }
  end

  it "can be 100 deep, also as an input of the next step" do
    one = handler { |_| deep.call(100) }
    two = handler { |step| step.results["one"].flatten }
    Stepwell.workflow("spec/deep") do
      step :one, one
      step :two, two, depends_on: :one
    end
    start_stepwell
    task = Stepwell.submit("spec/deep").wait(timeout: 30)

    expect(task.results).to eq("one" => deep.call(100), "two" => [1])
  end

  it "that is a float without a fraction, from 1e15 on, comes back as the integer of its digits" do
    expect(run_single { |_| [1e14, 1e15, 1e300] }.result(:only)).to eql([1e14, 10**15, 10**300])
  end

  it "has texts in UTF-8, whatever they were in, and bytes that are UTF-8 as what they look like" do
    texts = ["ü".b, "ü".encode("UTF-16LE"), "ü".encode("ISO-8859-1").to_sym, "ü".b.to_sym]
    result = run_single { |_| [texts, texts.to_h { |text| [text, text] }] }.result(:only)
    expect(result).to eq([["ü"] * 4, { "ü" => "ü" }])
  end

  it "has symbols as strings" do
    expect(run_single { |_| { state: :done, list: [:a] } }.result(:only)).to eq("state" => "done", "list" => ["a"])
  end
end
