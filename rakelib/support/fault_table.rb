# frozen_string_literal: true

require "json"

# What the fault specs noted, as a Markdown table.
module FaultTable
  COLUMNS = {
    "case" => "case", "faults" => "faults", "tasks" => "tasks", "lost" => "lost", "doubled" => "applied twice",
    "again" => "executed again", "bound" => "at most", "leases" => "leases lost", "recovery" => "recovery (s)",
    "warnings" => "warnings"
  }.freeze
  NOTES = <<~TEXT
    lost: acknowledged tasks that do not exist or did not end as they must. applied twice: tasks of one key, executions or
    outcomes of one attempt. executed again: executions whose outcome did not count; at most: what the example allows.
    recovery: longest time from a fault to the next task that finishes. warnings: of an outage, by all processes together.
  TEXT

  module_function

  # @param path [String] file of JSON lines
  # @return [String]
  def render(path)
    rows = File.foreach(path).map { |line| JSON.parse(line) }
    lines = [COLUMNS.values, COLUMNS.map { "---" }, *rows.sort_by { |row| row["case"] }.map { |row| cells(row) }]
    "#{lines.map { |cells| "| #{cells.join(" | ")} |" }.join("\n")}\n\n#{NOTES}"
  end

  def cells(row)
    figures = row["figures"].map { |name, value| "#{name.tr("_", " ")} #{Array(value).join(" → ")}" }.join(", ")
    COLUMNS.each_key.map do |name|
      name == "case" && !figures.empty? ? "#{row[name]} (#{figures})" : row[name].to_s
    end
  end
end
