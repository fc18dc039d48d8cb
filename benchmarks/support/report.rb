# frozen_string_literal: true

require "etc"
require "json"

module Bench
  # The tables and the JSON of a run.
  module Report
    ROOT = File.expand_path("../..", __dir__)

    module_function

    # @param rows [Array<Array>] of equal length; the first column is text
    # @return [String] a Markdown table that is aligned as text too
    def table(headings, rows)
      cells = [headings, *rows].map { |row| headings.each_index.map { |column| cell(row[column]) } }
      widths = cells.transpose.map { |column| column.map(&:length).max }
      rule = widths.each_with_index.map { |width, n| "#{"-" * (width + 1)}#{n.zero? ? "-" : ":"}" }
      lines = cells.map { |row| aligned(row, widths) }
      [lines.first, "|#{rule.join("|")}|", *lines.drop(1)].join("\n")
    end

    def aligned(row, widths)
      texts = row.zip(widths).each_with_index.map { |(text, width), n| n.zero? ? text.ljust(width) : text.rjust(width) }
      "| #{texts.join(" | ")} |"
    end

    def targets(judged)
      rows = judged.map do |each|
        measured = each[:measured] && "#{Targets.number(each[:measured])} #{each[:unit]}"
        range = each[:rounds].minmax.map { |value| Targets.number(value) }.join(" to ") if each[:rounds].size > 1
        verdict = { true => "met", false => "NOT met", nil => each[:absent] || "n/a" }.fetch(each[:met])
        [each[:target], each[:limit], measured, range, verdict]
      end
      table(["what", "target", "measured", "rounds", ""], rows)
    end

    # What a figure is worthless without.
    def circumstances(cluster)
      { machine: { cores: Etc.nprocessors, cpu: cpu_model, memory_mb: memory, kernel: Etc.uname.fetch(:release),
                   load: File.read("/proc/loadavg").split.first(3).join(" ") },
        commit: commit, versions: versions, settings: cluster.settings,
        variables: ENV.select { |name, _| name.start_with?("STEPWELL__") }, at: Time.now.utc.strftime("%FT%TZ") }
    end

    def commit
      hash = said("git", "-C", ROOT, "rev-parse", "--short=12", "HEAD")
      said("git", "-C", ROOT, "status", "--porcelain").empty? ? hash : "#{hash} with changes"
    end

    def versions
      { ruby: RUBY_DESCRIPTION, rust: said("rustc", "--version"), node: said(*Peer::NODE, "--version"),
        psql: said("psql", "--version") }
    end

    def cell(value)
      case value
      when nil then "-"
      when Float then value.round(4).to_s
      else value.to_s
      end
    end

    def cpu_model
      File.read("/proc/cpuinfo")[/^model name\s*: (.*)/, 1]
    end

    def memory
      File.read("/proc/meminfo")[/^MemTotal:\s+(\d+)/, 1].to_i / 1024
    end

    def said(*command)
      IO.popen([*command, { err: File::NULL }], &:read).strip
    rescue SystemCallError
      ""
    end
  end
end
